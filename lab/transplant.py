"""Composites that look like emoji: a head keeps what it is, and gets the features of another face. Nothing is fitted.

If baseline and featured are the same drawing in other colours, as skin tones are, the target's colours change likewise.
Otherwise the features that differ are moved and scaled from head to head, and the target's features there removed. A
feature (eyes, mouth, tears) is a connected area whose colour is far from those of the head."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy import ndimage
from scipy.spatial import cKDTree
from torch import nn

# Of the pixel range [0, 1], in the channel that differs most
NEARLY_WHITE = 0.93  # brighter pixels that are connected to the picture's edge are background
FAR = 0.25  # a colour further than this from the head's belongs to a feature; two this far apart differ
NEAR = 0.1  # colours no further apart count as one
# Lengths, in pixels
OUTLINE = 3  # at the edge of a drawing
# Parts
ROUND = 0.5  # of the radius of the largest disk in a drawing: parts too narrow for a disk of this radius are ears
TALL = 0.6  # of the rows that have the head's commonest colour: a colour in more rows is the head's too
CHANGED = 0.25  # of a feature's pixels: it differs if so many do
COVERED = 0.35  # of a feature's pixels in the head: it is removed if more are covered
ASTRAY = 0.02  # of a picture's pixels: if more break the change of colours, the two are different drawings
STAYS = 0.9  # of the changed pixels: if more have colours that elsewhere mostly stay, a feature changed

EDGES = 8  # nearest pixels of an outline, whose mean continues it
NEIGHBOURS = np.ones((3, 3))  # diagonal ones too: as far as a feature's colours fade into the head's


@dataclass(frozen=True)
class Face:
    """A picture taken apart."""

    picture: np.ndarray  # (3, H, W) in [0, 1]
    plain: np.ndarray  # (3, H, W): without its features
    part: np.ndarray  # (4, H, W): how much of a pixel is a feature, in [0, 1], and the feature's colours times that
    outline: np.ndarray  # (H, W) bool: far from the head's colours, in no feature
    features: np.ndarray  # (H, W): the number of a pixel's feature, or 0
    head: np.ndarray  # (H, W) bool: the drawing without ears
    box: np.ndarray  # first and last row, first and last column of the head, in pixels
    has_head: bool  # if not, the box is the picture's


def drawing(picture: np.ndarray) -> np.ndarray:
    """(H, W) bool: what is not background, white that reaches the edge, in a (3, H, W) picture."""
    white = np.pad(picture.min(0) > NEARLY_WHITE, 1, constant_values=True)
    labels, _ = ndimage.label(white)
    return (labels != labels[0, 0])[1:-1, 1:-1]


def depths(area: np.ndarray, pad: int = 1) -> np.ndarray:
    """(H, W) distances in pixels to what is not in an (H, W) bool area, which goes on beyond the picture's edge."""
    wide = np.pad(np.pad(area, pad, mode="edge"), 1)
    return ndimage.distance_transform_edt(wide)[pad + 1 : -pad - 1, pad + 1 : -pad - 1]


def nearest(area: np.ndarray) -> tuple[np.ndarray, tuple]:
    """(H, W) distances in pixels to an (H, W) bool area, and where its nearest pixels are, as an index of pictures."""
    distances, (rows, columns) = ndimage.distance_transform_edt(~area, return_indices=True)
    return distances, (slice(None), rows, columns)


def head_of(inside: np.ndarray) -> np.ndarray:
    """(H, W) bool: an (H, W) drawing's head, the drawing without ears. Nothing if the drawing is too thin for one."""
    pad = len(inside) // 2
    depth = depths(np.pad(ndimage.binary_fill_holes(inside), pad, mode="edge"))
    radius = int(ROUND * depth[pad:-pad, pad:-pad].max())
    if radius < OUTLINE:
        return np.zeros_like(inside)
    return (nearest(depth > radius)[0] <= radius)[pad:-pad, pad:-pad]


def cells(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,) the number of the cell, of side NEAR, in which each of (3, N) colours is; and how many each cell has."""
    steps = np.rint(pixels / NEAR).astype(int)
    _, cell, counts = np.unique(np.ravel_multi_index(steps, [steps.max() + 1] * 3), False, True, True)
    return cell, counts


def head_colours(picture: np.ndarray, inside: np.ndarray, head: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) bool, in a drawing: pixels of the colours that most rows of its head have; and those amid such pixels."""
    pixels, found = picture[:, head], []
    cell, counts = cells(pixels)
    for k in range(len(counts)):
        colour = np.median(pixels[:, cell == k], 1)[:, None, None]
        near = np.abs(picture - colour).max(0) < NEAR
        flat = ndimage.binary_erosion(near, NEIGHBOURS)
        found.append(((flat & head).any(1).sum(), near & inside, flat & inside))
    tallest = max(rows for rows, _, _ in found)
    near, flat = (np.any([each[k] for each in found if each[0] > TALL * tallest], 0) for k in (1, 2))
    return (near, flat) if flat.any() else (inside, inside)


def spread(area: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """An (H, W) bool area of features, with the outline beside them and with where their colours fade."""
    if area.any():
        area = ndimage.binary_dilation(area | outline & (nearest(area)[0] <= OUTLINE), NEIGHBOURS)
    return area


def without(picture: np.ndarray, covered: np.ndarray, flat: np.ndarray, body: np.ndarray) -> tuple[np.ndarray, ...]:
    """A (3, H, W) picture without what is covered: the head has its nearest flat colour there, an outline the mean of
    nearby pixels as deep in the body, and the rest is white. Also with the most similar of these, to compare with."""
    depth = np.rint(depths(body))
    plain = np.where(body, picture[nearest(flat)[1]], 1)
    likest = plain.copy()
    for level in (depth == each for each in range(1, OUTLINE + 1)):
        known = level & ~covered
        if known.any():
            nearby = range(1, 1 + min(EDGES, known.sum()))
            edges = picture[:, known][:, cKDTree(np.argwhere(known)).query(np.argwhere(level), nearby)[1]]
            away = np.abs(picture[:, level][..., None] - edges).max(0)
            plain[:, level] = edges.mean(2)
            likest[:, level] = edges[:, np.arange(len(away)), away.argmin(1)]
    return plain, likest


def take_apart(picture: np.ndarray) -> Face:
    """The head and the features of a (3, H, W) picture in [0, 1]."""
    return taken_apart(picture.tobytes(), picture.dtype, picture.shape)


@lru_cache(128)  # 50 MB; composites share their pictures
def taken_apart(content: bytes, dtype: np.dtype, shape: tuple[int, ...]) -> Face:
    """`take_apart` of the picture with this content."""
    picture = np.frombuffer(content, dtype).reshape(shape)
    inside = drawing(picture)
    head = head_of(inside)
    has_head = bool(head.any())
    if not has_head:
        head = inside = np.ones_like(inside)
    near, flat = head_colours(picture, inside, head)
    rest, _ = ndimage.label(inside & ~head)
    body = head | np.isin(rest, np.setdiff1d(rest[near], [0]))  # an ear has colours of the head, a tear has none
    ink = inside & (np.abs(picture - picture[nearest(flat)[1]]).max(0) > FAR)
    features, _ = ndimage.label(ink & (depths(inside) >= OUTLINE + 1), NEIGHBOURS)
    if features.any():  # they go on beyond the head, in their own colours
        distance, place = nearest(features > 0)
        beyond = ink & ~body & (np.abs(picture - picture[place]).max(0) < FAR)
        beyond = ndimage.binary_propagation(beyond & (distance <= OUTLINE + 2), NEIGHBOURS, beyond)
        features = np.where(beyond, features[place[1:]], features)
    outline = ink & (features == 0)
    plain, likest = without(picture, spread(features > 0, outline), flat, body)
    away = np.abs(picture - likest).max(0)
    full = np.maximum(ndimage.maximum_filter(away, NEIGHBOURS.shape), FAR)
    opacity = np.maximum(ndimage.binary_erosion(away > FAR, NEIGHBOURS), away / full) * ~near
    part = np.concatenate([opacity[None], picture - (1 - opacity) * likest])
    rows, columns = (np.flatnonzero(head.any(axis)) for axis in (1, 0))
    box = np.array([rows[0], rows[-1] + 1, columns[0], columns[-1] + 1], float)
    return Face(picture, plain, part, outline, features, head, box, has_head)


def parts_of(features: np.ndarray, mask: np.ndarray, part: float) -> np.ndarray:
    """(H, W) bool: those of the numbered features of which more than a part is in an (H, W) bool mask."""
    sizes = np.bincount(features.ravel())
    chosen = np.bincount(features.ravel(), mask.ravel()) > part * sizes
    chosen[0] = False
    return chosen[features]


def changed_features(baseline: Face, featured: Face) -> tuple[np.ndarray, np.ndarray]:
    """The features in which two faces differ: (2, H, W) bool where baseline and featured have them, and featured's
    (4, H, W) part."""
    joint, _ = ndimage.label((baseline.features > 0) | (featured.features > 0), NEIGHBOURS)
    differs = parts_of(joint, np.abs(baseline.part - featured.part).max(0) > FAR, CHANGED)
    areas = np.stack([differs & (face.features > 0) for face in (baseline, featured)])
    return areas, featured.part * spread(areas[1], featured.outline)


def into_frame(box: np.ndarray, to: np.ndarray, area: np.ndarray) -> np.ndarray:
    """The box to which `box` goes: `to`, moved and shrunk as far as an (H, W) bool area must to stay in the picture."""
    to = to.copy()
    for k, size in zip((0, 2), area.shape):
        place = np.flatnonzero(area.any(1 - k // 2))
        if len(place):
            scale = (to[k + 1] - to[k]) / (box[k + 1] - box[k])
            start, end = to[k] + (place[[0, -1]] + [0, 1] - box[k]) * scale
            length = min(end - start, size)
            moved = np.clip(start, 0, size - length)
            to[k : k + 2] = moved + (to[k : k + 2] - start) * length / (end - start)
    return to


def from_box_to_box(parts: np.ndarray, box: np.ndarray, to: np.ndarray) -> np.ndarray:
    """(C, H, W) parts in [0, 1], moved and scaled as a box is to another."""
    parts = torch.from_numpy(parts[None]).float()
    box, to = (2 * torch.from_numpy(each).float() / parts.shape[-1] - 1 for each in (box, to))  # as affine_grid counts
    scale = torch.stack([(to[k + 1] - to[k]) / (box[k + 1] - box[k]) for k in (2, 0)])
    middles = [torch.stack([each[k : k + 2].mean() for k in (2, 0)]) for each in (box, to)]
    back = torch.cat([torch.diag(1 / scale), (middles[0] - middles[1] / scale)[:, None]], 1)  # the way back
    grid = nn.functional.affine_grid(back[None], parts.shape, align_corners=False)
    return nn.functional.grid_sample(parts, grid, "bicubic", align_corners=False)[0].clamp(0, 1).numpy()


def colours_of(picture: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, float]:
    """(K, 3) colours of a (3, H, W) picture; the other's usual (K, 3) there; the part of pixels far from the usual; and
    the part of the changed ones whose colour mostly stays."""
    pixels, others = picture.reshape(3, -1).T, other.reshape(3, -1).T
    cell, counts = cells(pixels.T)
    means = [np.stack([np.bincount(cell, c) for c in each.T], 1) / counts[:, None] for each in (pixels, others)]
    changed = np.abs(others - pixels).max(1) > FAR
    stays = np.bincount(cell, changed) < counts / 2
    astray = np.abs(others - means[1][cell]).max(1) > FAR
    return *means, astray.mean(), stays[cell][changed].sum() / max(changed.sum(), 1)


def compose(target: np.ndarray, baseline: np.ndarray, featured: np.ndarray) -> tuple[np.ndarray, bool]:
    """The (3, H, W) composite of three pictures, and whether there was a head to put features on, if any were put."""
    colours, others, *tests = colours_of(baseline, featured)
    astray, staying = np.array([tests, colours_of(featured, baseline)[2:]]).T
    if astray.min() < ASTRAY and staying.max() < STAYS:
        distance, place = cKDTree(colours).query(target.reshape(3, -1).T)
        change = (others - colours)[place] * (distance < NEAR)[:, None]
        return (target + change.T.reshape(target.shape)).clip(0, 1), True
    target, *faces = (take_apart(picture) for picture in (target, baseline, featured))
    box = min((face.box for face in faces), key=lambda box: (box[1] - box[0]) * (box[3] - box[2]))  # without tears
    areas, part = changed_features(*faces)
    middle = np.array([0.25, 0.75, 0.25, 0.75]) * len(target.head)
    to = into_frame(box, target.box if target.has_head else middle, areas[1])
    moved = from_box_to_box(np.concatenate([part, areas, areas[0] * faces[0].picture]), box, to)
    part, areas, old = moved[:4], moved[4:6] > 0.5, moved[6:]
    covered = ndimage.binary_dilation(areas.any(0), NEIGHBOURS) & target.head
    alike = areas[0] & target.head & (np.abs(old - target.picture).max(0) < FAR)  # a tear on a tear, an eye on an eye
    gone = parts_of(target.features, covered, COVERED) | parts_of(target.features, alike, 0)
    kept = (target.features > 0) & ~gone
    ground = np.where(spread(gone, target.outline) & ~kept, target.plain, target.picture)
    return (ground * (1 - part[:1]) + part[1:]).clip(0, 1), target.has_head


def transplant(target: torch.Tensor, baseline: torch.Tensor, featured: torch.Tensor) -> torch.Tensor:
    """(N, 3, 64, 64) pictures in [0, 1] to the targets with the features that featured has and baseline does not."""
    made = [compose(*each) for each in zip(target.numpy(), baseline.numpy(), featured.numpy())]
    if not all(has_head for _, has_head in made):
        print("no head found: the features are put in the middle")
    return torch.from_numpy(np.stack([composite for composite, _ in made])).float()
