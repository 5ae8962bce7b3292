"""The tab *Composite*: an equation of three emoji, its answer in pictures, and how near the answer is to the truth."""

import gradio
import torch

from lab import arithmetic, pretrained
from lab.cli import UserError
from lab.pictures import to_float
from page import cache, show

METHODS = list(arithmetic.FORMULAS)
ROLES = ("target", "baseline", "featured")
USUAL = ("smiling cat face with open mouth", "grinning face", "smiling face with heart-shaped eyes")
STRONGEST = 3.0  # strengths of the slider, on either side
NETWORKS = ("coursework", "best")


def composed(
    target: str, baseline: str, featured: str, method: str, strength: float, style: str, network: str
) -> str:  # fmt: skip
    """The equation in pictures, with the scores where the true picture is known, as HTML. Raises UserError."""
    if not abs(strength) <= STRONGEST:
        raise UserError(f"strength is {strength}; it must be between -{STRONGEST} and {STRONGEST}")
    pictures = cache.pictures(style)
    asked = [cache.find(query, style) for query in (target, baseline, featured)]
    truth = arithmetic.known_truth(pictures, asked[0], asked[2])
    equation = arithmetic.equation(pictures, *asked, truth, method)
    small, images = arithmetic.subset(equation, pictures)
    transplanted = method == "transplant"
    space = arithmetic.pixel_space(images) if transplanted else arithmetic.network_space(cache.network(network), images)
    composite = arithmetic.compose(space, small, method, [strength])[0]
    answers = {"composite": composite, "unchanged target": to_float(pictures.images[equation.target])}
    errors = arithmetic.squared_errors(torch.stack(list(answers.values())), pictures.images)
    nearest, error = arithmetic.nearest(errors[0], equation)
    shown = {role: (pictures.images[i], f"{role}: {pictures.names[i]}") for role, i in zip(ROLES, asked)}
    plus, minus, end = signs(method, strength)
    cells = [shown["target"], plus, shown["featured"], minus, shown["baseline"], end, (composite, "composite")]
    if truth is not None:
        cells += ["", (pictures.images[truth], f"the true picture: {pictures.names[truth]}")]
    cells += ["", (pictures.images[nearest], f"nearest emoji: {pictures.names[nearest]}, MSE {error:.4f}")]
    words = f"composite = target + {strength:g} × ({arithmetic.FORMULAS[method]})."
    unknown = "" if truth is not None else "No true picture of it is known."
    scores = arithmetic.score(answers, errors, pictures, equation) if truth is not None else {}
    return show.row(*cells) + show.text(words, unknown) + score_table(scores, len(pictures))


def signs(method: str, strength: float) -> tuple[str, str, str]:
    """What stands before featured, baseline and composite: only the coursework's formula is a sum of these pictures."""
    if method != "difference":
        return "", "", "→"
    if strength == 1:
        return "+", "−", "="
    return f"{'−' if strength < 0 else '+'} {abs(strength):g} × (", "−", ") ="


def score_table(scores: dict[str, dict], count: int) -> str:
    """The scores against the true picture as an HTML table, if there are any; `count` pictures were ranked."""
    rows = [
        (name, f"{row['mse_to_truth']:.4f}", f"{row['ssim_to_truth']:.3f}", str(row["rank_of_truth"]))
        for name, row in scores.items()
    ]
    return show.table(("to the true picture", "MSE", "SSIM", f"its rank of {count}"), rows) if rows else ""


def gallery(style: str) -> list[tuple]:
    """The faces of a style with their names, to pick from. Raises UserError."""
    pictures = cache.pictures(style)
    return [(show.to_pil(pictures.images[i]), pictures.names[i]) for i in cache.faces(style)]


def picked(style: str, role: str, event: gradio.SelectData) -> list:
    """The three texts after a click on a picture: that of `role` is its name."""
    name = cache.pictures(style).names[cache.faces(style)[event.index]]
    return [name if role == each else gradio.skip() for each in ROLES]


def tab() -> None:
    """The tab's fields, and what happens when one changes. It is seen first, and filled before anybody asks."""
    with gradio.Row():
        texts = [
            gradio.Textbox(usual, label=role, max_length=200, elem_id=role) for role, usual in zip(ROLES, USUAL)
        ]  # fmt: skip
    with gradio.Row():
        strength = gradio.Slider(
            -STRONGEST, STRONGEST, 1.0, step=0.05, label="strength", elem_id="strength", min_width=280
        )
        method = gradio.Radio(METHODS, value=METHODS[0], label="method", elem_id="method", min_width=280)
    first = show.at_first(composed, *USUAL, METHODS[0], 1.0, "twemoji", "coursework")
    answer = gradio.HTML(first, elem_id="composite", min_height=150)
    with gradio.Row():
        style = gradio.Radio(cache.STYLES, value="twemoji", label="style", elem_id="style", min_width=280)
        choices = [(pretrained.NETWORKS[name].title, name) for name in NETWORKS]
        network = gradio.Radio(choices, value="coursework", label="network", elem_id="network", min_width=280)
    with gradio.Accordion("Pick by picture", open=False):
        role = gradio.Radio(ROLES, value="target", label="a click on a picture sets the", elem_id="role")
        sheet = gradio.Gallery(
            gallery("twemoji"), format="png", height=340, show_label=False, allow_preview=False, object_fit="contain",
            buttons=[], interactive=False, elem_id="sheet",
        )  # fmt: skip
    fields = [*texts, method, strength, style, network]
    style.change(show.in_a_line(gallery), style, sheet, api_visibility="private", concurrency_id="one")
    picks = sheet.select(picked, [style, role], texts, api_visibility="private", concurrency_id="one")
    ask = {"fn": show.in_a_line(composed), "inputs": fields, "outputs": answer, "concurrency_id": "one"}
    picks.then(**ask, api_visibility="private", show_progress="minimal")
    changes = [event for each in texts for event in (each.submit, each.blur)]
    changes += [method.change, strength.change, style.change, network.change]
    gradio.on(changes, **ask, api_name="composite", trigger_mode="always_last", show_progress="minimal")
