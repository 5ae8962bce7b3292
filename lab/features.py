"""Where a drawn face has its head and its features: eyes, mouth, tears. For flat drawings on white; nothing is fitted.

A feature is a connected area that is neither the white ground nor of the colour of the head around it.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

NEARLY_WHITE = 0.93  # of the pixel range: ground, where it reaches the edge of the picture
NEAR = 0.16  # of the pixel range: a colour no further away, in each channel, is the head's
OPAQUE = 0.25  # of the pixel range: a pixel so far from the head's colour is all feature
LEVELS = 8  # of a channel, where a picture's commonest colours are counted
ROUNDS = 3  # of finding the head's colour and what is near it: it may vary over the head
REACHES = ((1.5, 1.0), (4.0, 0.03), (10.0, 0.0005))  # pixels from which a head's colour is taken, and their weights
DISK = 9  # pixels, the radius of a disk that fits into a head, but into no ear, hand or whisker
OUTLINE = 3  # pixels at the edge of a drawing that are its outline
WHOLE = 0.72  # of the drawing's height and width: what is larger is an outline, no feature
CHANGED = 0.25  # of a feature's pixels: it is another if so many differ
ROWS = (27, 44)  # between which eyes end and a mouth begins
USUAL_ROW = 35  # where they mostly do
ALONG = 0.8  # of a feature's pixels: it is outline if more are at the drawing's edge
TOUCHED = 0.4  # of a feature's pixels: it goes, as a whole, if more are covered
NEIGHBOURS = np.ones((3, 3))  # diagonal ones too


@dataclass(frozen=True)
class Faces:
    """N pictures taken apart, as arrays of (N, channels, 64, 64), and the heads that they show."""

    pictures: np.ndarray  # 3 channels, in [0, 1]
    inside: np.ndarray  # 1 channel, bool: the drawing, without the white ground around it
    plain: np.ndarray  # 3 channels: the head without its features, drawn on beyond its edge
    ink: np.ndarray  # 1 channel, in [0, 1]: how much of a pixel is a feature
    head: np.ndarray  # 1 channel, bool: the head without ears
    heads: np.ndarray  # (N, 3): row and column of the head's middle, and the root of its area, in pixels


def grown(areas: np.ndarray, pixels: int) -> np.ndarray:
    """(N, C, H, W) arrays with the largest value of a square around each pixel."""
    return ndimage.maximum_filter(areas, (1, 1, 2 * pixels + 1, 2 * pixels + 1))


def drawing(picture: np.ndarray) -> np.ndarray:
    """(H, W) bool: what is not ground in a (3, H, W) picture, white that reaches the edge."""
    white = np.pad(picture.min(0) > NEARLY_WHITE, 1, constant_values=True)
    labels, _ = ndimage.label(white)
    return (labels != labels[0, 0])[1:-1, 1:-1]


def head_of(inside: np.ndarray) -> np.ndarray:
    """(H, W) bool: an (H, W) drawing's head, the drawing without ears."""
    y, x = np.ogrid[-DISK : DISK + 1, -DISK : DISK + 1]
    filled = np.pad(ndimage.binary_fill_holes(inside), DISK + 1, mode="edge")  # a head may be cut off by the edge
    opened = ndimage.binary_opening(filled, y**2 + x**2 <= DISK**2)[DISK + 1 : -DISK - 1, DISK + 1 : -DISK - 1]
    return opened if opened.any() else np.ones_like(inside)


def middle_and_size(head: np.ndarray) -> list[float]:
    """Row and column of the middle of an (H, W) head, and the root of its area."""
    rows, columns = np.nonzero(head)
    return [rows.mean() + 0.5, columns.mean() + 0.5, len(rows) ** 0.5]


def head_colours(picture: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels of the commonest colour, and of other colours of large areas as tall as a head has."""
    steps = np.rint(picture * (LEVELS - 1)).astype(int)
    cells = np.where(inside, np.ravel_multi_index(steps, [LEVELS] * 3), -1)
    flat = inside & (ndimage.maximum_filter(cells, 3) == ndimage.minimum_filter(cells, 3))
    found, counts = np.unique(cells[flat], return_counts=True)
    near = np.zeros_like(inside)
    for place in counts.argsort()[::-1][:4]:
        area = cells == found[place]
        tall = area.any(1).sum() > 0.6 * inside.any(1).sum()
        if near.any() and not (tall and counts[place] > 0.05 * inside.sum()):
            continue
        colour = picture[:, area].mean(1)[:, None, None]
        near |= inside & (np.abs(picture - colour).max(0) < 0.8 * NEAR)
    return near if near.any() else inside


def taken_apart(pictures: torch.Tensor) -> Faces:
    """Find the features of (N, 3, 64, 64) pictures in [0, 1]."""
    drawn = pictures.numpy()
    inside = np.stack([drawing(picture) for picture in drawn])[:, None]
    head = np.stack([head_colours(*pair) for pair in zip(drawn, inside[:, 0])])[:, None]
    for _ in range(ROUNDS):
        weighted = np.concatenate([drawn * head, head], 1, dtype=np.float32)
        blurred = sum(
            weight * ndimage.gaussian_filter(weighted, (0, 0, reach, reach), mode="constant", truncate=2.5)
            for reach, weight in REACHES
        )
        plain = blurred[:, :3] / blurred[:, 3:].clip(np.finfo(np.float32).tiny)
        away = np.abs(drawn - plain).max(1, keepdims=True)
        head = inside & (away < NEAR)
    heads = np.stack([head_of(one) for one in inside[:, 0]])
    places = np.array([middle_and_size(one) for one in heads])
    return Faces(drawn, inside, plain, (away / OPAQUE).clip(0, 1) * inside, heads[:, None], places)


def is_outline(area: np.ndarray, inside: np.ndarray) -> bool:
    """Whether an area, as the smallest rectangle around it, is about as large as the (H, W) drawing."""
    height, width = (inside.any(axis).sum() for axis in (1, 0))
    return area.shape[0] > WHOLE * height and area.shape[1] > WHOLE * width


def between_eyes_and_mouth(ink: np.ndarray) -> int:
    """The row in which an (H, W) amount of features is least."""
    rows = np.arange(*ROWS)
    amount = np.convolve(ink.sum(1), np.ones(3), "same")[rows]
    return int(rows[np.argmin(amount + 0.4 * np.abs(rows - USUAL_ROW))])


def chosen_features(solid: np.ndarray, changed: np.ndarray, inside: np.ndarray, split: int) -> np.ndarray:
    """(2, H, W): those of the features in `solid`, above and below the row `split`, of which enough has `changed`."""
    chosen = np.zeros((2, *solid.shape), np.float32)
    labels, _ = ndimage.label(solid, NEIGHBOURS)
    for label, place in enumerate(ndimage.find_objects(labels), 1):
        area = labels[place] == label
        if area.sum() < 3 or is_outline(area, inside) or (changed[place] & area).sum() < CHANGED * area.sum():
            continue
        middle = place[0].start + np.nonzero(area)[0].mean()
        chosen[int(middle > split)][place][area] = 1
    return chosen


def changed_features(baseline: Faces, featured: Faces) -> list[torch.Tensor]:
    """What two faces with one head do not share: (N, 2, 4, 64, 64) of baseline, and of featured.

    Eyes and mouth, each as its opacity and its colours times the opacity.
    """
    away = [(face.pictures - face.plain) * face.inside for face in (baseline, featured)]
    differs = np.minimum(np.abs(away[0] - away[1]).max(1, keepdims=True), np.maximum(baseline.ink, featured.ink))
    changed = grown((differs > NEAR).astype(np.uint8), 1)[:, 0] > 0
    inside = (baseline.inside | featured.inside)[:, 0]
    solid = [face.ink * ~grown(~face.inside, OUTLINE) > 0.5 for face in (baseline, featured)]
    splits = [between_eyes_and_mouth(ink) for ink in solid[0][:, 0].astype(float) + solid[1][:, 0]]
    found = []
    for face, areas in zip((baseline, featured), solid):
        chosen = np.stack([chosen_features(*each) for each in zip(areas[:, 0], changed, inside, splits)])
        opacity = (face.ink * grown(chosen, OUTLINE))[:, :, None]
        found.append(torch.from_numpy(np.concatenate([opacity, opacity * face.pictures[:, None]], 2)).float())
    return found


def erased(faces: Faces, covered: torch.Tensor) -> torch.Tensor:
    """(N, 3, 64, 64) pictures without the features that are (N, 1, 64, 64) `covered`, a bool, for a good part.

    Of an outline the covered pixels alone go, and none at the drawing's edge.
    """
    solid = faces.ink * ~grown(~faces.inside, 1) > 0.4
    edge = grown(~faces.inside, OUTLINE)
    gone, white = np.zeros_like(faces.inside), np.zeros_like(faces.inside)
    for n, under in enumerate(covered[:, 0].numpy()):
        labels, _ = ndimage.label(solid[n, 0], NEIGHBOURS)
        for label, place in enumerate(ndimage.find_objects(labels), 1):
            area = labels[place] == label
            part, at_edge = under[place] & area, area & edge[n, 0][place]
            if is_outline(area, faces.inside[n, 0]) or at_edge.sum() > ALONG * area.sum():
                gone[n, 0][place] |= part & ~at_edge
            elif part.sum() > TOUCHED * area.sum():
                gone[n, 0][place] |= area
                if at_edge.any():
                    white[n, 0][place] |= area
    faint = (faces.ink > 0.08) & faces.inside
    gone = grown(gone, 2) & (faint | gone)
    ground = np.where(grown(white, 2) & ~faces.head, 1, faces.plain)
    return torch.from_numpy(np.where(gone, ground, faces.pictures)).float()
