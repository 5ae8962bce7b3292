"""The tab *Composite*: an equation of three emoji, its answer in pictures, and how near the answer is to the truth."""

import gradio
import torch

from lab import arithmetic, cli, sources
from lab.pictures import to_float
from page import cache, show

METHODS = list(arithmetic.FORMULAS)
ROLES = ("target", "baseline", "featured")
USUAL = ("smiling cat face with open mouth", "grinning face", "smiling face with heart-shaped eyes")
STRONGEST = 3.0  # strengths of the slider, on either side
WIDE = {"min_width": 280}  # pixels of a field: on a telephone, one field a row


def composed(target: str, baseline: str, featured: str, method: str, strength: float, style: str, network: str) -> str:
    """The equation in pictures, with scores where the true picture is known, as HTML. Raises UserError."""
    cli.require_range(-STRONGEST, STRONGEST, strength=strength)
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

    shown = {role: getattr(equation, role) for role in ("target", "featured", "baseline")}
    shown |= {"the true picture": truth, f"nearest emoji, MSE {error:.4f}": nearest}
    labelled = [(pictures.images[i], f"{label}: {pictures.names[i]}") for label, i in shown.items() if i is not None]
    a_sum = method == "difference" and strength == 1
    plus, minus, end = ("+", "−", "=") if a_sum else ("", "", "→")
    made = show.row(labelled[0], plus, labelled[1], minus, labelled[2], end, (composite, "composite"), *labelled[3:])
    made += f"<p>composite = target + {strength:g} × ({arithmetic.FORMULAS[method]})</p>"
    if truth is None:
        return made + "<p>The true picture is not known.</p>"
    lines = [f"compared with the true picture<td>MSE<td>SSIM<td>its rank of {len(pictures)}"]
    for name, score in arithmetic.score(answers, errors, pictures, equation).items():
        mse, ssim, rank = score["mse_to_truth"], score["ssim_to_truth"], score["rank_of_truth"]
        lines.append(f"{name}<td>{mse:.4f}<td>{ssim:.3f}<td>{rank}")
    return f'{made}<table class="table"><tr><td>{"<tr><td>".join(lines)}</table>'


def gallery(style: str) -> list[tuple]:
    """The faces of a style with their names, to pick from. Raises UserError."""
    pictures = cache.pictures(style)
    return [(show.to_pil(pictures.images[i]), pictures.names[i]) for i in cache.faces(style)]


def picked(role: str, event: gradio.SelectData, *fields) -> list:
    """The three texts, that of `role` the name of the picture that was clicked, and their composite."""
    texts = [event.value["caption"] if role == each else text for each, text in zip(ROLES, fields)]
    return [*texts, composed(*texts, *fields[len(ROLES) :])]


def tab(opened: gradio.Tab) -> None:
    """The tab's fields, and what happens when one changes. It is seen first, and filled before anybody asks."""
    with gradio.Row():
        texts = [gradio.Textbox(usual, label=role, max_length=200, elem_id=role) for role, usual in zip(ROLES, USUAL)]
    with gradio.Row():
        strength = gradio.Slider(-STRONGEST, STRONGEST, 1.0, step=0.05, label="strength", elem_id="strength", **WIDE)
        method = gradio.Radio(METHODS, value=METHODS[0], label="method", elem_id="method", **WIDE)
    answer = gradio.HTML(composed(*USUAL, METHODS[0], 1.0, "twemoji", "coursework"), elem_id="composite")
    with gradio.Row():
        style = gradio.Radio(sources.STYLES, value="twemoji", label="style", elem_id="style", **WIDE)
        network = gradio.Radio(cache.NETWORKS, value="coursework", label="network", elem_id="network", **WIDE)
    with gradio.Accordion("Pick by picture", open=False):
        role = gradio.Radio(ROLES, value="target", label="a click on a picture sets the", elem_id="role")
        quiet = {"show_label": False, "allow_preview": False, "buttons": [], "object_fit": "contain"}
        sheet = gradio.Gallery(gallery("twemoji"), height=340, elem_id="sheet", **quiet)
    fields = [*texts, method, strength, style, network]
    show.listen([style.change], gallery, style, sheet)
    show.listen([sheet.select], picked, [role, *fields], [*texts, answer])
    changes = [event for text in texts for event in (text.submit, text.blur)]
    changes += [field.change for field in fields[len(texts) :]]
    show.listen(changes, composed, fields, answer, "composite")
