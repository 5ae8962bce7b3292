"""How the page shows pictures, numbers and errors, as HTML that fits any width, and how it takes an emoji."""

import base64
import functools
import html
import io
import json
import re
from pathlib import Path
from typing import Callable

import gradio
import torch
from PIL import Image

from lab import names, sources
from lab.cli import UserError
from lab.figures import CLASSES
from page import cache

DARK_GREY, LIGHT_GREY = "#52525b", "#d4d4d8"  # of small text on white and on black: both have a contrast above 7
THEME = gradio.themes.Default(primary_hue="blue", font=("system-ui", "sans-serif")).set(
    body_text_color_subdued=DARK_GREY, body_text_color_subdued_dark=LIGHT_GREY,
    block_info_text_color=DARK_GREY, block_info_text_color_dark=LIGHT_GREY,
    block_title_text_color=DARK_GREY, block_title_text_color_dark=LIGHT_GREY,
)  # fmt: skip
STYLE = """
.row { display: flex; flex-wrap: wrap; gap: 8px 14px; margin: 8px 0; }
.row figure { margin: 0; width: 132px; font-size: 13px; line-height: 1.35; overflow-wrap: anywhere; }
.row figure img { width: 132px; height: 132px; border: 1px solid #ddd; border-radius: 6px; margin: 0; }
.row figcaption { white-space: pre-line; } .row b { font-size: 14px; }
.row .sign { font-size: 26px; line-height: 132px; }
.line { flex-wrap: nowrap; gap: 8px; } .line figure, .line img { width: clamp(62px, 16vw, 132px) !important; }
.line img { height: auto !important; } .line .sign { line-height: clamp(62px, 16vw, 132px); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(132px, 1fr)); }
@media (max-width: 500px) { .line, .line b { font-size: 11px !important; gap: 4px; } .line .sign { font-size: 16px; } }
#map, #moods { max-width: 640px; }
.small figure, .small figure img { width: 64px; height: auto; } .small { justify-content: space-between; }
img.strip { width: 100%; height: 26px; image-rendering: pixelated; }
input[role=combobox] { text-overflow: ellipsis; margin-right: 24px !important; }
.tab-container button { padding: 0 10px !important; font-size: 14px !important; }
.wrong { color: #b91c1c; font-weight: 600; } .dark .wrong { color: #fca5a5; }
:focus-visible, label:has(> input:focus-visible) { outline: 3px solid var(--color-accent) !important; outline-offset: 1px; }
"""
WAIT = "<p>The pictures appear in a few seconds.</p>"  # in a tab that has just been opened
LIVE = """() => document.querySelectorAll(".prose, [id$=nearest]").forEach(part => part.ariaLive = "polite")"""
HIDDEN = {"api_visibility": "private"}
MAP = 560  # pixels of a side of a map of latents
THUMBNAIL = 26  # pixels of a picture on it


def to_pil(picture: torch.Tensor) -> Image.Image:
    """A (3, H, W) picture, uint8 or float in [0, 1]."""
    if picture.dtype != torch.uint8:
        picture = (picture.clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(picture.permute(1, 2, 0).numpy())


def to_address(picture: Image.Image) -> str:
    """A picture as an address that holds its PNG."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def row(*cells: tuple[torch.Tensor, str] | str, kind: str = "") -> str:
    """Pictures with their captions, and signs between them, in a row that wraps."""
    parts = []
    for cell in filter(None, cells):
        if isinstance(cell, str):
            parts.append(f'<span class="sign">{cell}</span>')
        else:
            picture, (title, _, text) = to_address(to_pil(cell[0])), html.escape(cell[1]).partition("\n")
            caption = f"<figcaption><b>{title}</b>\n{text}</figcaption>"
            parts.append(f'<figure><img src="{picture}" alt="{title}">{caption}</figure>')
    return f'<div class="row {kind}">{"".join(parts)}</div>'


def strip(latent: torch.Tensor, caption: str) -> str:
    """A (d,) latent as a strip of d colours: white is 0, red above it and blue below, full at its largest number."""
    parts = latent / latent.abs().max().clamp_min(1e-9)
    white = 1 - parts.abs()
    colours = torch.stack([torch.where(parts < 0, white, 1.0), white, torch.where(parts > 0, white, 1.0)])
    return f'<p>{caption}</p><img class="strip" src="{to_address(to_pil(colours[:, None]))}" alt="{caption}">'


# ---------------------------------------------------------------- a map of latents


class LatentMap:
    """A map of a network's latents: its pictures at their places in the plane, both axes at one scale."""

    def __init__(self, latents: cache.Latents):
        self.latents = latents
        low, high = latents.points.amin(0), latents.points.amax(0)
        flat = (0.6 * (high - low).max() - (high - low)).clamp(0) / 2  # it is not much wider than high, or the reverse
        low, high = low - flat, high + flat
        self.scale = (MAP - 4 * THUMBNAIL) / (high - low).max().item()  # pixels for a unit of the plane
        self.corner = torch.stack([low[0], high[1]]) + torch.tensor([-2, 2]) * THUMBNAIL / self.scale  # at the top left
        self.size = ((high - low) * self.scale + 4 * THUMBNAIL).round().int()  # width and height in pixels

    def draw(self, picture: torch.Tensor, latent: torch.Tensor, label: int | None = None) -> Image.Image:
        """The map with a new picture, with its (d,) latent, larger and on top. Only this one moves."""
        latents, drawn = self.latents, Image.new("RGBA", (*self.size.tolist(),))  # the page's ground shows through
        new = (latent - latents.middle) @ latents.directions.vectors[:2].T
        labels = [*(latents.labels or [None] * len(latents.points)), label]
        for point, image, known in zip([*latents.points, new], [*latents.pictures.images, picture], labels):
            side, frame, plain = (2 * THUMBNAIL, 4, "#2563eb") if point is new else (THUMBNAIL, 2, "#bbbbbb")
            half = side / 2 + frame
            place = (point - self.corner) * torch.tensor([1, -1]) * self.scale
            x, y = torch.minimum(place.clamp(half), self.size - half).tolist()
            tile = Image.new("RGB", (side + 2 * frame,) * 2, plain if known is None else CLASSES[known])
            tile.paste(to_pil(image).resize((side, side)), (frame, frame))
            drawn.paste(tile, (round(x - half), round(y - half)))
        return drawn

    def latent(self, event: gradio.SelectData) -> torch.Tensor:
        """(1, d), the latent at the place that was clicked."""
        point = torch.tensor(event.index) * torch.tensor([1, -1]) / self.scale + self.corner
        return (self.latents.middle + point @ self.latents.directions.vectors[:2])[None]


@functools.cache
def latent_map(network: str) -> LatentMap:
    return LatentMap(cache.latents(network))


# ---------------------------------------------------------------- fields, and what happens when one changes


def uploaded(path: str) -> torch.Tensor:
    """(3, 64, 64) uint8, a visitor's picture. Raises UserError."""
    picture = sources.decode(sources.Row(None, path, Path(path).read_bytes), skip_bad=True)
    if picture is None:
        raise UserError(f"this picture cannot be opened; give a complete {', '.join(sources.FORMATS)}")
    return picture


SUGGESTED = HIDDEN | {"trigger_mode": "multiple", "queue": False, "show_progress": "hidden"}


def suggested(event: gradio.KeyUpData):
    """What a field offers for the text that is in it."""
    return gradio.update(choices=cache.matching(event.input_value))


class EmojiField:
    """A field for an emoji that suggests names and, after `add_own`, one for a picture of one's own in its place."""

    def __init__(self, label: str, usual: str, elem_id: str):
        self.elem_id = elem_id
        options = {"allow_custom_value": True, "label": label, "elem_id": elem_id, "min_width": 240}
        with gradio.Column(min_width=240):
            self.name = gradio.Dropdown(cache.matching(""), value=usual, **options)
            self.nearest = gradio.Radio([], label="did you mean", visible=False, elem_id=f"{elem_id}-nearest")
        self.name.key_up(suggested, None, self.name, **SUGGESTED)
        self.name.select(lambda: gradio.update(choices=cache.matching("")), None, self.name, **SUGGESTED)
        self.nearest.input(lambda name: name, self.nearest, self.name, **HIDDEN)
        self.inputs, self.outputs = [self.name], [self.name, self.nearest]

    def add_own(self, label: str) -> None:
        """Take a picture of the visitor's own, dropped, pasted or chosen, until it is removed."""
        choice = {"sources": ["upload", "clipboard"], "buttons": [], "height": 160, "elem_id": f"{self.elem_id}-own"}
        own = gradio.Image(type="filepath", label=label, placeholder="drop, paste or choose", min_width=240, **choice)
        own.preprocess = lambda file: file and file.path  # `uploaded` opens it, and says if it cannot
        self.inputs.append(own)
        self.outputs.append(own)

    def read(self, style: str, name: str | None, own: str | None = None) -> tuple[str | torch.Tensor | None, list]:
        """The emoji's name, the visitor's own picture or, for a mistake, None; and what the field now shows."""
        tail = [gradio.update(label=part.label) for part in self.outputs[2:]]
        quiet = gradio.update(visible=False)
        try:
            if own:
                picture = uploaded(own)
                unused = "Your own picture is used; remove it to choose an emoji."
                return picture, [gradio.update(interactive=False, info=unused), quiet, *tail]
        except UserError as error:
            return None, [gradio.skip(), quiet, gradio.update(label=wrong(error))]
        try:
            found = cache.find(name, style)
            matched = cache.pictures(style).names[found]
            name = matched if cache.find(matched, style) == found else name  # a skin tone has no name of its own
            return name, [gradio.update(value=name, info="", interactive=True), quiet, *tail]
        except UserError as error:
            _, nearest = names.match(cache.pictures(style).names, names.normalise(name))
            suggestions = gradio.update(choices=nearest, value=None, visible=bool(nearest))
            return None, [gradio.update(info=wrong(error), interactive=True), suggestions, *tail]


def wrong(error: UserError) -> str:
    """What is wrong. What are options elsewhere are fields here."""
    return f"⚠ {error}".replace("--", "")


QUEUED = {"trigger_mode": "always_last", "concurrency_id": "one", "show_progress": "minimal"}  # one visitor at a time


def listen(events: list, function: Callable, fields: list, outputs: list, name: str | None = None, after=None) -> None:
    """Show what a function of some fields returns on these events and `after` another; `name` makes it public.
    A mistake stands at the field that it is in, until it is mended; an emptied number is the usual one."""
    emoji = [field for field in fields if isinstance(field, EmojiField)]
    inputs = [part for field in fields for part in (field.inputs if field in emoji else [field])]

    def answered(*values):
        style = next((value for part, value in zip(inputs, values) if part.elem_id == "style"), "twemoji")
        left, arguments, shown, answers = iter(values), [], [], [None] * len(outputs)
        for field in fields:
            if field in emoji:
                argument, updates = field.read(style, *(next(left) for _ in field.inputs))
                shown.append(updates)
            else:
                given = next(left)
                argument = field.value if given is None else given
            arguments.append(argument)
        if all(argument is not None for argument in arguments):
            try:
                result = function(*arguments)
                answers = result if isinstance(result, tuple) else [result]
            except UserError as error:
                at_fault = set(re.findall(r"--(\w+)", str(error)))
                for field, updates in zip(emoji, shown):
                    if field.elem_id in at_fault:
                        updates[0] = gradio.update(info=wrong(error))
                if not at_fault & {field.elem_id for field in emoji}:
                    answers[0] = f'<p class="wrong">{html.escape(wrong(error))}</p>'
        return [*answers, *(update for updates in shown for update in updates)]

    queued = QUEUED | {"show_progress_on": outputs}
    changed = [*outputs, *(part for field in emoji for part in field.outputs)]
    gradio.on(events, answered, inputs, changed, **queued, **({"api_name": name} if name else HIDDEN))
    if after:
        after.then(answered, inputs, changed, **queued, **HIDDEN)


def keep(fields: list):
    """Keep the values of these fields in the page's address, where they are not the usual ones; read them from there
    when the page is opened. Returns this last event."""
    parts = [field.name if isinstance(field, EmojiField) else field for field in fields]
    usual = json.dumps([[part.elem_id, str(part.value)] for part in parts])
    script = f"""(...values) => {{
        const query = new URLSearchParams(location.search);
        {usual}.forEach(([name, usual], i) => values[i] == usual ? query.delete(name) : query.set(name, values[i]));
        history.replaceState(null, "", "?" + query);
    }}"""

    def restored(request: gradio.Request) -> dict:
        return {part: read(part, request.query_params.get(part.elem_id)) for part in parts}

    gradio.on([part.change for part in parts], None, parts, None, js=script, **HIDDEN)
    return gradio.on([gradio.context.Context.root_block.load], restored, None, parts, show_progress="hidden", **HIDDEN)


def keep_tab(tabs: gradio.Tabs) -> None:
    """The same for the tab that is open."""
    for tab in tabs.children:
        change = 'delete("tab")' if tab is tabs.children[0] else f'set("tab", "{tab.id}")'
        query = f"const query = new URLSearchParams(location.search); query.{change};"
        tab.select(None, js=f'() => {{ {query} history.replaceState(null, "", "?" + query); }}', **HIDDEN)

    def restored(request: gradio.Request):
        tab = request.query_params.get("tab")
        return gradio.Tabs(selected=tab) if tab in [tab.id for tab in tabs.children] else gradio.skip()

    gradio.context.Context.root_block.load(restored, None, tabs, **HIDDEN)


def read(part, text: str | None):
    """What a field becomes by a text in the page's address: nothing new for one that it cannot have."""
    if isinstance(part, gradio.Slider):
        try:
            value = float(text)
        except (TypeError, ValueError):
            return gradio.skip()
        return value if part.minimum <= value <= part.maximum else gradio.skip()
    known = isinstance(part, gradio.Dropdown) or text in [value for _, value in part.choices]
    return text if text and known else gradio.skip()
