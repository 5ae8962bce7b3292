"""Finding an emoji by any of its names, and which emoji count as one, in bounded time and memory."""

import pytest
import torch

from common import names
from common.errors import UserError
from common.names import twin_keys

# ---------------------------------------------------------------- finding


@pytest.mark.parametrize(
    "query, expected",
    [
        ("grinning face", "grinning face"),  # exact, though other names contain it
        ("Smiling Face With HEART-SHAPED eyes", "smiling face with heart shaped eyes"),
        ("😍", "smiling face with heart shaped eyes"),
        ("☹️", "frowning face"),
        ("star eyes", "grinning face with star eyes"),  # the only name that contains it
        (":heart_eyes:", "smiling face with heart shaped eyes"),  # a short name
        ("heart eyes", "smiling face with heart shaped eyes"),
        ("cat", "cat face"),  # short, though many names contain it; among all emoji there is one of this very name
        ("cat heart eyes", "smiling cat face with heart shaped eyes"),  # the words of a short name, in another order
        ("kissing cat", "kissing cat face with closed eyes"),  # the only name with all its words
        ("grining face", "grinning face"),  # a typing error
        ("hart eyes", "smiling face with heart shaped eyes"),
    ],
)
def test_names_in_any_spelling_or_as_a_character(faces, query, expected):
    assert faces.names[names.find(faces.names, query)] == expected


def test_a_short_name_in_colons_goes_before_a_name(everything):
    found = [everything.names[names.find(everything.names, query)] for query in ("cat", ":cat:")]
    assert found == ["cat", "cat face"]


def test_skin_tones_of_a_character(faces):
    plain, light, dark = (names.find(faces.names, query, faces.codes) for query in ("🙎", "🙎🏻", "🙎🏿"))
    assert plain == names.find(faces.names, "person with pouting face") == light - 1 == dark - 5


@pytest.mark.parametrize(
    "query, message",
    [
        ("smilling cat face", "may mean 3 emoji; did you mean smiling cat face with open mouth, smiling cat face with"),
        ("cat face with", "may mean 6 emoji; did you mean cat face with"),
        ("hangry face", "matches no emoji"),  # another first letter is no typing error of `angry`
        ("happy cat", "matches no emoji; did you mean .*cat face"),
        ("🚂", "matches no emoji; did you mean"),
        ("", "did you mean another keyword"),
        (":", "did you mean another keyword"),
        ("face " * 10**5, "did you mean"),
    ],
)
def test_unclear_names_list_the_three_nearest(faces, query, message):
    with pytest.raises(UserError, match=message) as error:
        names.find(faces.names, query)
    assert str(error.value).partition("did you mean")[2].count(",") <= 2


# ---------------------------------------------------------------- twins


@pytest.fixture
def noise():
    """A function that draws (count, 3, 64, 64) uint8 pictures of noise, no two alike."""
    generator = torch.Generator().manual_seed(0)
    return lambda count: torch.randint(2, 250, (count, 3, 64, 64), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("spread", [0, 2])  # in grey levels: the same picture, and nearly the same
def test_a_thousand_like_pictures_are_one(noise, spread, monkeypatch):
    """Compared in full are few pairs, not the half million there are: those would take minutes."""
    images = noise(1)[0] + torch.randint(0, spread + 1, (1000, 3, 64, 64), dtype=torch.uint8)
    images[::2] = images[::2].flip(3)
    compared, full = [], torch.Tensor.float
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: compared.append(len(tensor)) or full(tensor))
    assert set(twin_keys([f"face {i}" for i in range(1000)], images)) == {"face 0"}
    assert sum(compared) < 10_000


def test_like_pictures_are_connected_over_others_and_over_names(noise):
    """a is like b, b like c, c has the name of d, and d is e mirrored; f is alone."""
    a, d, f = noise(3)
    images = torch.stack([a, a + 2, a + 4, d, d.flip(2), f])
    texts = ["e", "b", "face type 3", "face type 4", "a", "f"]
    assert twin_keys(texts, images) == ["a"] * 5 + ["f"]
    assert twin_keys([], images[:0]) == []


def test_keys_are_those_of_comparing_every_pair(noise):
    """Steps of brightness on both sides of what counts as alike, in any order, some mirrored."""
    picture = noise(1)[0].clamp(max=150)
    steps = torch.tensor([0, 5, 10, 30, 35, 70, 82, 93]).to(torch.uint8)
    images = torch.stack([picture + step for step in steps])[torch.tensor([3, 6, 0, 5, 1, 7, 4, 2])]
    images[1::3] = images[1::3].flip(3)
    flat, mirrored = (view.flatten(1).double() / 255 for view in (images, images.flip(3)))
    alike = sum((view[:, None] - flat).square().mean(2) < 0.002 for view in (flat, mirrored)) > 0
    reached = torch.linalg.matrix_power(alike.double(), 8) > 0
    keys = twin_keys([f"face {i}" for i in range(8)], images)
    assert keys == [f"face {row.nonzero().min()}" for row in reached]
