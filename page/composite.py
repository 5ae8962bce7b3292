"""The tab *Composite*: an equation of three emoji, the answer of every method, and how near each is to the truth."""

import random

import gradio
import torch

from lab import arithmetic, cli
from lab.pictures import Pictures, to_float
from lab.transplant import take_apart
from page import cache, show

METHODS = {  # and a sentence each
    "transplant": "Copies the eyes and mouth that featured has and baseline lacks. Uses no network.",
    "difference": "The coursework's: target + (featured − baseline), in the latent.",
    "isolated": "The difference without what it shares with other faces.",
    "mean": "Featured turned into a cat by known pairs' mean. Uses no baseline.",
}
ROLES = {"target": "target", "featured": "+ featured", "baseline": "− baseline"}  # as in the equation
USUAL = ("smiling cat face with open mouth", "smiling face with heart shaped eyes", "grinning face")
EXAMPLES = ("😺😍😀", "😸😂😁", "😺😢😐", "😼😡😐", "😿😚😢", "🐶😎😐", "🌝😭😀", "🍕😍😀")
STRONGEST = 3.0  # strengths of the slider, on either side
STRENGTHS = (0, 0.5, 1, 1.5, 2)  # of the strip
LARGE = 512  # pixels of a side of a picture to download
FIELD = {"min_width": 240}  # pixels: on a telephone, one field a row


def equation(target: str, featured: str, baseline: str, own: str | None, style: str):
    """The faces of a style and the emoji that are asked for, as Pictures, and the Equation among them.
    `own` is the path of a picture in place of the target. Raises UserError."""
    asked = [cache.find(name, style) for name in (target, featured, baseline)]
    chosen = [*dict.fromkeys([*asked, *cache.faces(style)])]
    pictures = cache.pictures(style).take(chosen)
    target, featured, baseline = (chosen.index(i) for i in asked)
    if own:
        target = len(pictures)
        pictures = pictures.joined([Pictures("", ["your picture"], show.picture(None, own)[0][None], [""], [""])])
    truth = arithmetic.known_truth(pictures, target, featured)
    return pictures, arithmetic.equation(pictures, target, baseline, featured, truth, "mean")


def compose(pictures: Pictures, asked: arithmetic.Equation, method: str, strengths, network: str) -> torch.Tensor:
    """(S, 3, 64, 64) composites in [0, 1], one for each strength. `pixels` is the difference of the pixels."""
    small, images = arithmetic.subset(asked, pictures)
    pixels = method in ("transplant", "pixels")
    space = arithmetic.pixel_space(images) if pixels else arithmetic.network_space(cache.network(network), images)
    return arithmetic.compose(space, small, "difference" if method == "pixels" else method, strengths)


def composed(target, featured, baseline, own, strength: float, style: str, network: str) -> str:
    """The equation in pictures and the composite of each method, with scores where the true picture is known, as HTML.
    Raises UserError."""
    cli.require_range(-STRONGEST, STRONGEST, strength=strength)
    pictures, asked = equation(target, featured, baseline, own, style)
    sentences = METHODS | {"pixels": "The same difference of pixels, to compare with."}
    answers = {name: compose(pictures, asked, name, [strength], network)[0] for name in sentences}
    answers["unchanged target"] = to_float(pictures.images[asked.target])
    errors = arithmetic.squared_errors(torch.stack([*answers.values()]), pictures.images)
    scores = {} if asked.truth is None else arithmetic.score(answers, errors, pictures, asked)
    cards = []
    for (name, picture), row in zip(answers.items(), errors):
        lines = [name]
        if score := scores.get(name):
            lines += [f"MSE {score['mse_to_truth']:.4f}", f"SSIM {score['ssim_to_truth']:.3f}"]
            lines.append(f"rank {score['rank_of_truth']} of {len(pictures)}")
        lines.append(f"nearest: {pictures.names[arithmetic.nearest(row, asked)[0]]}")
        if name == "transplant" and not take_apart(to_float(pictures.images[asked.target]).numpy()).has_head:
            lines.append("no head found in the target: features are put in the middle")
        cards.append((picture, "\n".join([*lines, "", sentences.get(name, "Is any method better than this?")])))
    sides = {role: getattr(asked, role) for role in ROLES} | {"the true picture": asked.truth}
    sides = [(pictures.images[i], f"{role}\n{pictures.names[i]}") for role, i in sides.items() if i is not None]
    line = show.row(*(part for pair in zip(sides, ("+", "−", "=" * bool(scores), "")) for part in pair), kind="line")
    about = "No true picture is known: see which emoji is nearest."
    if scores:
        about = "MSE (lower is better) and SSIM (higher is better) are to the true picture. Rank 1: no face is nearer."
    return f"{line}<p>{about}</p>{show.row(*cards, kind='cards')}"


def enlarged(target, featured, baseline, own, strength, style, network, method) -> tuple:
    """A method's composite and its strip of strengths as large pictures. Raises UserError."""
    pictures, asked = equation(target, featured, baseline, own, style)
    images = compose(pictures, asked, method, [strength, *STRENGTHS], network)
    rows = images[0], torch.cat([*images[1:]], 2)
    return tuple(show.to_pil(row).resize((row.shape[2] * LARGE // row.shape[1], LARGE), 0) for row in rows)


def prepared(style: str):
    """Read a style's pictures, saying so as the answer, and then set the style that is `ready`. Nobody else waits."""
    if style not in cache.LOADED:
        rendered = ", whose drawings are rendered once: up to a minute" if style == "openmoji" else ""
        yield f"<p>Reading the pictures of {style}{rendered}. The answer appears by itself.</p>", gradio.skip()
        cache.pictures(style)
    yield gradio.skip(), style


def tab(opened) -> list:
    """The tab's fields, and what happens when the page is `opened` or one changes. Returns them."""
    gradio.Markdown(
        "What does a cat with heart-shaped eyes look like? **target + featured − baseline**: the target with what "
        "featured has and baseline lacks. Each method answers in its own way, and most blur. Click an example, "
        "choose other emoji by name or character, or give a picture of your own."
    )
    with gradio.Row():
        names = [show.emoji_field(label, usual, role) for (role, label), usual in zip(ROLES.items(), USUAL)]
    with gradio.Row():
        with gradio.Column(scale=5, min_width=300):
            labels = ["{} + {} − {}".format(*example) for example in EXAMPLES]
            gradio.Examples([*map(list, EXAMPLES)], names, example_labels=labels, label="examples")
        with gradio.Column(min_width=150):
            chance = gradio.Button("Three at random", size="sm", elem_id="random")
            gradio.Button("Reset everything", size="sm", link="?", elem_id="reset")
    answer = gradio.HTML(show.WAIT, elem_id="composite")
    with gradio.Row():
        strength = gradio.Slider(-STRONGEST, STRONGEST, 1.0, step=0.05, label="strength", elem_id="strength", **FIELD)
        missing = None if "noto" in cache.STYLES else "For noto: pip install -r requirements-noto.txt"
        style = gradio.Radio(cache.STYLES, value="twemoji", label="style", info=missing, elem_id="style", **FIELD)
        network = gradio.Radio(cache.NETWORKS, value="coursework", label="network", elem_id="network", **FIELD)
    gradio.Markdown("**To download:** one method's composite, and the same at strengths of 0, ½, 1, 1½ and 2.")
    method = gradio.Radio([*METHODS], value="transplant", label="method", elem_id="method")
    with gradio.Row():
        options = {"format": "png", "interactive": False, "buttons": ["download", "fullscreen"]}
        large = gradio.Image(label="composite", alt_text="the composite", elem_id="large", **options)
        strip = gradio.Image(label="strengths", alt_text="the strip of strengths", elem_id="strip", scale=4, **options)
    gradio.Markdown("**A picture of your own** is the target until you remove it. It stays on this machine.")
    own = show.own_picture("your own target", names[0])
    fields = [*names, own, strength, style, network]
    cats, humans = map(list, (arithmetic.COUNTERPARTS, arithmetic.COUNTERPARTS.values()))  # with true pictures
    chance.click(lambda: [random.choice(cats), *random.sample(humans, 2)], None, names, **show.HIDDEN)
    ready = gradio.State()  # the style, once its pictures are read
    reading = {"concurrency_limit": None, "show_progress": "hidden"}
    gradio.on([opened, style.change], prepared, style, [answer, ready], **reading, **show.HIDDEN)
    show.listen(ready.change, composed, fields, [answer], "composite", silent=style)
    show.listen(ready.change, enlarged, [*fields, method], [large, strip], silent=style)
    return [*names, strength, style, network, method]
