"""Finding an emoji by any of its names, and which pictures count as one emoji."""

import contextlib

import pytest
import torch

from lab import names
from lab.cli import UserError
from lab.names import find, normalise, twin_key, twin_keys


@pytest.mark.parametrize(
    "query, expected",
    [
        ("grinning face", "grinning face"),  # exact, though other names contain it
        ("😍", "smiling face with heart shaped eyes"),
        ("☹️", "frowning face"),  # with a variation selector
        ("sunglas", "smiling face with sunglasses"),  # part of one name only
        (":heart_eyes:", "smiling face with heart shaped eyes"),  # a short name
        ("cat", "cat face"),  # a short name, though many names contain it
        ("cat heart eyes", "smiling cat face with heart shaped eyes"),  # the words of a short name, in another order
        ("grinnning cat", "grinning cat face with smiling eyes"),  # a typing error
    ],
)
def test_a_query_finds_one_emoji(faces, query, expected):
    assert faces.names[find(faces.names, query)] == expected


def test_a_short_name_in_colons_goes_before_a_name():
    assert [find(["cat face", "cat"], query) for query in (":cat:", "cat")] == [0, 1]


def test_a_skin_tone_finds_the_twin_with_its_code_points(faces):
    plain, light, dark = (find(faces.names, query, faces.codes) for query in ("🙎", "🙎🏻", "🙎🏿"))
    assert [faces.codes[i] for i in (plain, light, dark)] == ["1F64E", "1F64E-1F3FB", "1F64E-1F3FF"]
    assert len({faces.names[i] for i in (plain, light, dark)}) == 1
    with pytest.raises(UserError, match="no picture with this skin tone"):
        find([faces.names[plain]], "🙎🏻", [faces.codes[plain]])


@pytest.mark.parametrize(
    "query, message",
    [
        ("smilling cat face", "may mean 3 emoji; did you mean smiling cat face with"),
        ("grining face", "may mean 5 emoji; did you mean grinning face, "),
        ("🚂", "matches no emoji; did you mean"),
        ("", "matches no emoji; did you mean another keyword"),
        ("face " * 10**5, "did you mean another keyword"),
    ],
)
def test_an_unclear_query_lists_the_three_nearest(faces, query, message):
    with pytest.raises(UserError, match=message) as error:
        find(faces.names, query)
    assert str(error.value).partition("did you mean")[2].count(",") <= 2


def test_names_are_spelled_alike():
    assert normalise("  SMILING\tCAT_FACE with Heart-Shaped\x00 ") == "smiling cat face with heart shaped"
    assert twin_key("face massage type 1 2") == twin_key("face massage type 6") == "face massage"
    assert twin_key("emoji modifier fitzpatrick type 3") == "emoji modifier fitzpatrick"
    assert normalise("E\u0301") == normalise("\u00c9") == "\u00e9"


def test_numbered_names_and_thin_icons_are_not_twins(made):
    numbered = [f"smiley type {i}" for i in range(20)]
    assert [*map(twin_key, numbered)] == numbered
    icons = torch.full((4, 3, 64, 64), 255, dtype=torch.uint8)
    for i in (0, 1, 2):  # one picture in 1,000 pixels; the last two are empty
        icons[i, :, 10 * i + 10, 30:34] = 0
    icons[2] = icons[1]
    assert twin_keys(["a", "b", "c", "d"], icons) == ["a", "b", "b", "d"]


def test_twins_share_a_name_or_a_picture_as_it_is_or_mirrored(made, monkeypatch):
    """Also over others: a is like b, b is like c, c has the name of d, and d is e mirrored; f is alone."""
    monkeypatch.setattr(names, "CHUNK", 2)  # pictures are compared in several chunks
    a, d, f = made([""] * 3).images.clamp(max=250)
    images = torch.stack([a, a + 2, a + 4, d, d.flip(2), f])
    assert twin_keys(["e", "b", "cat face type 3", "cat face type 4", "a", "f"], images) == ["a"] * 5 + ["f"]


@pytest.mark.long
def test_any_query_finds_an_emoji_or_is_refused(faces):
    from hypothesis import given, settings, strategies

    word = strategies.sampled_from(["face", "cat", "type 1 2", "sad-face", "👍🏽", "🏽", "\ufe0f", " ", "İ", ":"])

    @settings(max_examples=500, derandomize=True, database=None, deadline=None)
    @given(strategies.lists(word | strategies.text(max_size=10), max_size=4).map(" ".join))
    def check(query):
        with contextlib.suppress(UserError):
            assert find(faces.names, query, faces.codes) in range(len(faces))

    check()
