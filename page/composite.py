"""The tab *Composite*: an equation of three emoji, the answer of every method, and how near each is to the truth."""

import random

import gradio
import torch
from PIL import Image

from lab import arithmetic, cli
from lab.pictures import Pictures, to_float
from page import cache, show

METHODS = {  # and a sentence each
    "transplant": "Copies the eyes and mouth that featured has and baseline has not. No network.",
    "difference": "The coursework's: target + (featured − baseline) in the latent.",
    "isolated": "The difference without what it shares with other faces.",
    "mean": "Featured made a cat, by the mean of known pairs. No baseline.",
    "map": "Featured made a cat, by a regression on known pairs. No baseline.",
}
ROLES = ("target", "featured", "baseline")  # as in the equation
SIGNS = {"target": "target", "featured": "+ featured", "baseline": "− baseline"}
USUAL = ("smiling cat face with open mouth", "smiling face with heart shaped eyes", "grinning face")
EXAMPLES = {
    "😺 + 😍 − 😀": USUAL,
    "😸 + 😂 − 😁": (
        "grinning cat face with smiling eyes",
        "face with tears of joy",
        "grinning face with smiling eyes",
    ),
    "😺 + 😢 − 😐": (USUAL[0], "crying face", "neutral face"),
    "😼 + 😡 − 😐": ("cat face with wry smile", "pouting face", "neutral face"),
    "😿 + 😗 − 😢": ("crying cat face", "kissing face with closed eyes", "crying face"),
    "🐶 + 😎 − 😐": ("dog face", "smiling face with sunglasses", "neutral face"),
    "🌝 + 😭 − 😀": ("full moon with face", "loudly crying face", USUAL[2]),
    "🍕 + 😍 − 😀": ("slice of pizza", *USUAL[1:]),
}
STRONGEST = 3.0  # strengths of the slider, on either side
STRENGTHS = (0, 0.5, 1, 1.5, 2)  # of the strip
LARGE = 512  # pixels of a side of a picture to download
FIELD = {"min_width": 240}  # pixels: on a telephone, one field a row


def equation(target, featured: str, baseline: str, style: str) -> tuple[Pictures, arithmetic.Equation]:
    """The style's faces and the emoji that were asked for, and the equation of these. Raises UserError."""
    drawn = cache.pictures(style)
    own = not isinstance(target, str)
    asked = [cache.find(name, style) for name in ((featured, baseline) if own else (target, featured, baseline))]
    chosen = [*dict.fromkeys([*asked, *cache.faces(style)])]
    places = [chosen.index(i) for i in asked]
    pictures = drawn.take(chosen)
    if own:
        pictures = pictures.joined([Pictures("yours", ["your picture"], target[None], [""], ["yours"])])
        places.insert(0, len(chosen))
    truth = arithmetic.known_truth(pictures, places[0], places[1])
    return pictures, arithmetic.equation(pictures, places[0], places[2], places[1], truth, "mean")


def compose(pictures, asked, method: str, strengths, network: str) -> torch.Tensor:
    """(S, 3, 64, 64) composites in [0, 1], one for each strength. `pixels` is the difference of the pixels."""
    small, images = arithmetic.subset(asked, pictures)
    if method in ("transplant", "pixels"):
        space = arithmetic.pixel_space(images)
    else:
        space = arithmetic.network_space(cache.network(network), images)
    return arithmetic.compose(space, small, "difference" if method == "pixels" else method, strengths)


def composed(target, featured: str, baseline: str, strength: float, style: str, network: str) -> str:
    """The equation in pictures and the composite of each method, with scores where the true picture is known, as HTML.
    The target may be a (3, 64, 64) picture. Raises UserError."""
    cli.require_range(-STRONGEST, STRONGEST, strength=strength)
    pictures, asked = equation(target, featured, baseline, style)
    answers = {name: compose(pictures, asked, name, [strength], network)[0] for name in (*METHODS, "pixels")}
    answers["unchanged target"] = to_float(pictures.images[asked.target])
    errors = arithmetic.squared_errors(torch.stack(list(answers.values())), pictures.images)
    scores = {} if asked.truth is None else arithmetic.score(answers, errors, pictures, asked)
    sentences = METHODS | {"pixels": "The same difference of the pixels, to compare with."}
    cells = []
    for (name, picture), row in zip(answers.items(), errors):
        lines = [name]
        if name in scores:
            numbers = scores[name]
            lines += [f"MSE {numbers['mse_to_truth']:.4f}", f"SSIM {numbers['ssim_to_truth']:.3f}"]
            lines.append(f"rank {numbers['rank_of_truth']} of {len(pictures)}")
        lines.append(f"nearest: {pictures.names[arithmetic.nearest(row, asked)[0]]}")
        cells.append((picture, "\n".join([*lines, "", sentences.get(name, "Is a method better than this?")])))

    def named(label: str, i: int) -> tuple[torch.Tensor, str]:
        return pictures.images[i], f"{label}\n{pictures.names[i]}"

    sources = named("target", asked.target), "+", named("featured", asked.featured), "−"
    sources = *sources, named("baseline", asked.baseline), "" if strength == 1 else f"× {strength:g}"
    truth, about = (), "No picture is known to be the true answer: look, and see which emoji is nearest."
    if asked.truth is not None:
        truth = "=", named("the true picture", asked.truth)
        about = "MSE (less is better) and SSIM (more is better) compare with the true picture. Its rank among all "
        about += "faces, by MSE, is 1 where no other face is nearer to the composite."
    return f"{show.row(*sources, *truth, kind='line')}<p>{about}</p>{show.row(*cells, kind='cards')}"


def enlarged(target, featured, baseline, strength, style, network, method) -> tuple[Image.Image, Image.Image]:
    """A method's composite, and its strip of strengths, at 512 pixels a side. Raises UserError."""
    pictures, asked = equation(target, featured, baseline, style)
    images = compose(pictures, asked, method, [strength, *STRENGTHS], network)
    row = torch.cat([*images[1:]], 2)
    return tuple(show.to_pil(each).resize((LARGE * each.shape[2] // 64, LARGE), 0) for each in (images[0], row))


def drawn_at_random() -> list[str]:
    """A cat, and two different faces of which the first has a cat: the true picture is known."""
    cats, humans = list(arithmetic.COUNTERPARTS), list(arithmetic.COUNTERPARTS.values())
    featured = random.choice(humans)
    return [random.choice(cats), featured, random.choice([name for name in humans if name != featured])]


def prepared(style: str):
    """Read a style's pictures, and say so while that lasts. Other visitors do not wait."""
    if style not in cache.LOADED:
        once = (
            "OpenMoji's drawings are rendered once, which takes up to a minute" if style == "openmoji" else "a moment"
        )
        yield f'<p role="status">Reading the pictures of {style}: {once}. The answer appears by itself.</p>'
        cache.pictures(style)
    yield gradio.skip()


def tab(opened: gradio.Tab) -> None:
    """The tab's fields, and what happens when the page is opened or one of them changes."""
    gradio.Markdown(
        "What does a cat with heart-shaped eyes look like? **target + featured − baseline** says: the target with what "
        "featured has and baseline has not. Each method below answers in its own way; most blur, which is what this lab "
        "is about. Click an example, choose other emoji by name or character, or give a picture of your own."
    )
    with gradio.Row():
        emoji = [show.EmojiField(SIGNS[role], usual, role) for role, usual in zip(ROLES, USUAL)]
    names = [field.name for field in emoji]
    with gradio.Row():
        with gradio.Column(scale=5, min_width=300):
            gradio.Examples([*map(list, EXAMPLES.values())], names, example_labels=[*EXAMPLES], label="examples")
        with gradio.Column(scale=1, min_width=150):
            chance = gradio.Button("Three at random", size="sm", elem_id="random")
            gradio.Button("Reset everything", size="sm", link="?", elem_id="reset")
    answer = gradio.HTML(show.WAIT, elem_id="composite")
    with gradio.Row():
        strength = gradio.Slider(-STRONGEST, STRONGEST, 1.0, step=0.05, label="strength", elem_id="strength", **FIELD)
        missing = None if "noto" in cache.STYLES else "For noto: pip install -r requirements-noto.txt"
        style = gradio.Radio(cache.STYLES, value="twemoji", label="style", info=missing, elem_id="style", **FIELD)
        network = gradio.Radio(cache.NETWORKS, value="coursework", label="network", elem_id="network", **FIELD)
    gradio.Markdown("**Larger, to keep:** the composite of one method, and the same at strengths of 0, ½, 1, 1½ and 2.")
    method = gradio.Radio([*METHODS], value="transplant", label="method", elem_id="method")
    with gradio.Row():
        options = {"format": "png", "interactive": False, "buttons": ["download", "fullscreen"]}
        large = gradio.Image(label="composite", alt_text="the composite", elem_id="large", scale=1, **options)
        strip = gradio.Image(label="strengths", alt_text="the strip of strengths", elem_id="strip", scale=4, **options)
    with gradio.Row():
        with gradio.Column(min_width=240):
            gradio.Markdown("**A picture of your own** is the target until you remove it. It stays on this machine.")
        emoji[0].add_own("your own target")
    fields = [*emoji, strength, style, network]
    opened_page = show.keep([*fields, method])
    chance.click(drawn_at_random, None, names, **show.HIDDEN)
    changes = [part.change for field in emoji for part in field.inputs] + [part.change for part in (strength, network)]
    for event in (opened_page.then, style.change):
        ready = event(prepared, style, answer, concurrency_limit=None, show_progress="hidden", **show.HIDDEN)
        show.listen(changes, composed, fields, [answer], "composite", ready)
        show.listen([method.change], enlarged, [*fields, method], [large, strip], None, ready)
        changes = []
