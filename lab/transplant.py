"""Composites that look like emoji: a head keeps what it is, and gets the features of another face. Nothing is fitted.

If a change of colours explains how featured differs from baseline, as between skin tones, the target gets that change.
Otherwise the target's features give way to the featured face's, moved and scaled from head to head. A feature (eyes,
mouth, tears) is a connected area that is neither the white ground nor of the colour of the head around it."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import nn

# Thresholds, of the pixel range [0, 1]
NEARLY_WHITE = 0.93  # brighter is ground, where it reaches the edge of the picture
NEAR = 0.16  # a colour no further away, in each channel, is the head's
OPAQUE = 0.25  # a pixel so far from the head's colour is all feature
NEAR_COLOUR = 0.04  # standard deviation within which colours change alike
# Lengths, in pixels
DISK = 9  # radius of a disk that fits into a head, but not into an ear, a hand or a whisker
OUTLINE = 3  # at the edge of a drawing
AROUND = 1  # around the baseline's features, where the target's are erased
REACHES = ((1.5, 1.0), (4.0, 0.03), (10.0, 0.0005))  # from which a head's colour is taken, and their weights
ROWS, USUAL_ROW = (27, 44), 35  # between which eyes end and a mouth begins, and where they mostly do
# Parts
WHOLE = 0.72  # of the drawing's height and width: a larger area is an outline, not a feature
CHANGED = 0.25  # of a feature's pixels: it differs if so many do
ALONG = 0.8  # of a feature's pixels: it is outline if more are at the drawing's edge
TOUCHED = 0.4  # of a feature's pixels: it is erased as a whole if more are covered
COLOURS = 0.9  # of a difference: if a change of colours explains more, it is one
SCALES = (0.4, 2.5)  # of features, at least and at most

LEVELS, PALETTE = 8, 12  # of a channel, where commonest colours are counted, and where colours are told apart
ROUNDS = 3  # of finding the head's colour and what is near it: it may vary over the head
STAY = 0.5  # pixels of weight for leaving a colour as it is
NEIGHBOURS = np.ones((3, 3))  # diagonal ones too


@dataclass(frozen=True)
class Faces:
    """N pictures taken apart, as arrays of (N, channels, 64, 64), and the heads that they show."""

    pictures: np.ndarray  # 3 channels, in [0, 1]
    inside: np.ndarray  # 1 channel, bool: the drawing, without the white ground around it
    plain: np.ndarray  # 3 channels: the head without its features, drawn on beyond its edge
    ink: np.ndarray  # 1 channel, in [0, 1]: how much of a pixel is a feature
    head: np.ndarray  # 1 channel, bool: the head without ears
    boxes: np.ndarray  # (N, 4): first and last row, first and last column of the head, in pixels


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


def take_apart(pictures: torch.Tensor) -> Faces:
    """The heads and features of (N, 3, 64, 64) pictures in [0, 1]."""
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
    places = [ndimage.find_objects(one.astype(int))[0] for one in heads]
    boxes = np.array([[rows.start, rows.stop, columns.start, columns.stop] for rows, columns in places], float)
    return Faces(drawn, inside, plain, (away / OPAQUE).clip(0, 1) * inside, heads[:, None], boxes)


def is_outline(area: np.ndarray, inside: np.ndarray) -> bool:
    """Whether an area, as the smallest rectangle around it, is about as large as the (H, W) drawing."""
    height, width = (inside.any(axis).sum() for axis in (1, 0))
    return area.shape[0] > WHOLE * height and area.shape[1] > WHOLE * width


def areas_of(solid: np.ndarray):
    """(slices, (h, w) bool within them) of each connected area of an (H, W) bool array."""
    labels, _ = ndimage.label(solid, NEIGHBOURS)
    for label, place in enumerate(ndimage.find_objects(labels), 1):
        yield place, labels[place] == label


def row_below_eyes(ink: np.ndarray) -> int:
    """The row between eyes and mouth in which an (H, W) amount of features is least."""
    rows = np.arange(*ROWS)
    amount = np.convolve(ink.sum(1), np.ones(3), "same")[rows]
    return int(rows[np.argmin(amount + 0.4 * np.abs(rows - USUAL_ROW))])


def select_changed(solid: np.ndarray, changed: np.ndarray, inside: np.ndarray, split: int) -> np.ndarray:
    """(2, H, W): those of the features in `solid`, above and below the row `split`, of which enough has `changed`."""
    chosen = np.zeros((2, *solid.shape), np.float32)
    for place, area in areas_of(solid):
        if area.sum() < 3 or is_outline(area, inside) or (changed[place] & area).sum() < CHANGED * area.sum():
            continue
        middle = place[0].start + np.nonzero(area)[0].mean()
        chosen[int(middle > split)][place][area] = 1
    return chosen


def changed_features(baseline: Faces, featured: Faces) -> list[torch.Tensor]:
    """The features in which two faces differ: (N, 2, 4, 64, 64) of baseline, and of featured.
    Eyes and mouth, each as its opacity and its colours times the opacity."""
    away = [(face.pictures - face.plain) * face.inside for face in (baseline, featured)]
    differs = np.minimum(np.abs(away[0] - away[1]).max(1, keepdims=True), np.maximum(baseline.ink, featured.ink))
    changed = grown((differs > NEAR).astype(np.uint8), 1)[:, 0] > 0
    inside = (baseline.inside | featured.inside)[:, 0]
    solid = [face.ink * ~grown(~face.inside, OUTLINE) > 0.5 for face in (baseline, featured)]
    splits = [row_below_eyes(ink) for ink in solid[0][:, 0].astype(float) + solid[1][:, 0]]
    found = []
    for face, areas in zip((baseline, featured), solid):
        chosen = np.stack([select_changed(*each) for each in zip(areas[:, 0], changed, inside, splits)])
        opacity = (face.ink * grown(chosen, OUTLINE))[:, :, None]
        found.append(torch.from_numpy(np.concatenate([opacity, opacity * face.pictures[:, None]], 2)).float())
    return found


def erase(faces: Faces, covered: np.ndarray) -> torch.Tensor:
    """(N, 3, 64, 64) pictures without the features of which (N, 1, 64, 64) bool `covered` touches a good part.
    Of an outline only the covered pixels are erased, and none at the drawing's edge."""
    solid = faces.ink * ~grown(~faces.inside, 1) > 0.4
    edge = grown(~faces.inside, OUTLINE)
    gone, white = np.zeros_like(faces.inside), np.zeros_like(faces.inside)
    for n, under in enumerate(covered[:, 0]):
        for place, area in areas_of(solid[n, 0]):
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


def colour_change(baseline: np.ndarray, featured: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(K,) pixels of each colour of a (3, H, W) picture, the (K, 3) colours, and the (K, 3) mean change to another."""
    cells = np.ravel_multi_index(np.rint(baseline * (PALETTE - 1)).astype(int), [PALETTE] * 3).ravel()
    _, cell, counts = np.unique(cells, return_inverse=True, return_counts=True)
    pair = baseline, featured
    means = [np.stack([np.bincount(cell, part.ravel()) / counts for part in picture], 1) for picture in pair]
    return counts, means[0], means[1] - means[0]


def recoloured(target: np.ndarray, change: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """A (3, H, W) picture whose colours change as near ones do; a colour without a near one stays."""
    counts, colours, changes = change
    pixels = target.reshape(3, -1).T
    away = ((pixels[:, None] - colours) ** 2).sum(2)
    weights = counts * np.exp(-away / (2 * NEAR_COLOUR**2))
    moved = pixels + weights @ changes / (weights.sum(1, keepdims=True) + STAY)
    return moved.T.reshape(target.shape).clip(0, 1)


def change_colours(target: Faces, baseline: Faces, featured: Faces) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, 3, 64, 64) targets with the colours changed, and (N,) the part of the difference that this explains."""
    changed, explained = [], []
    for one, other, another in zip(target.pictures, baseline.pictures, featured.pictures):
        change = colour_change(other, another)
        changed.append(recoloured(one, change))
        left = np.square(recoloured(other, change) - another).mean()
        explained.append(1 - left / max(np.square(other - another).mean(), np.finfo(np.float32).tiny))
    return torch.from_numpy(np.stack(changed)).float(), torch.tensor(explained)


def from_box_to_box(parts: torch.Tensor, boxes: np.ndarray, to: np.ndarray) -> torch.Tensor:
    """(N, 2, 4, 64, 64) parts, moved and scaled as (N, 4) boxes are to others."""
    side = parts.shape[-1]
    boxes, to = (2 * torch.from_numpy(each).float() / side - 1 for each in (boxes, to))  # as affine_grid counts
    scale = torch.stack([(to[:, k + 1] - to[:, k]) / (boxes[:, k + 1] - boxes[:, k]) for k in (2, 0)], 1).clamp(*SCALES)
    middles = [torch.stack([each[:, k : k + 2].mean(1) for k in (2, 0)], 1) for each in (boxes, to)]
    back = torch.cat([torch.diag_embed(1 / scale), (middles[0] - middles[1] / scale)[..., None]], 2)  # the way back
    grid = nn.functional.affine_grid(back, parts[:, 0].shape, align_corners=False)
    placed = [nn.functional.grid_sample(part, grid, align_corners=False) for part in parts.unbind(1)]
    return torch.stack(placed, 1)


def over(ground: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) pictures with (N, 4, H, W) parts on them: opacities, and colours times opacity."""
    return ground * (1 - part[:, :1]) + part[:, 1:]


def transplant(target: torch.Tensor, baseline: torch.Tensor, featured: torch.Tensor) -> torch.Tensor:
    """(N, 3, 64, 64) pictures in [0, 1] to the targets with the features that featured has and baseline does not."""
    faces = [take_apart(pictures) for pictures in (target, baseline, featured)]
    target, baseline, featured = faces
    sizes = [(face.boxes[:, 1::2] - face.boxes[:, ::2]).prod(1, keepdims=True) for face in (baseline, featured)]
    boxes = np.where(sizes[0] <= sizes[1], baseline.boxes, featured.boxes)  # the smaller head: without tears
    old, new = (from_box_to_box(parts, boxes, target.boxes) for parts in changed_features(baseline, featured))
    covered = (old[:, :, :1].amax(1) > 0.3).numpy()
    ground = erase(target, grown(covered, AROUND))
    composed = over(over(ground, new[:, 0]), new[:, 1]).clamp(0, 1)
    recolour, explained = change_colours(*faces)
    return torch.where((explained > COLOURS)[:, None, None, None], recolour, composed)
