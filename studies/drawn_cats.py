"""Analogies between two kinds of faces: latent arithmetic with a linear map from human differences to cat differences.

A cat has its eyes and mouth at other heights and of other sizes than a human: z_target + (z_featured - z_baseline)
ignores that. Here the difference passes through a matrix M first, z_target + M (z_featured - z_baseline), fitted by
ridge regression. Eight known pairs are too few for it, so most of its pairs are drawn: a round face's eyes and mouth
are pasted on the cats' head, where a rule fitted on the known pairs places them.

The constants below are Twemoji's: whoever set them had seen all nine cats. What is fitted sees the known pairs only.
"""

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from threadpoolctl import threadpool_limits

import data
from lab import baselines

SIZE = data.SIZE
CENTRE = SIZE / 2
RIM = 29  # pixels from the centre: further out a round head blends into the white ground
YELLOW = torch.tensor([255, 204, 77])[:, None, None] / 255  # the heads
CAT_EYES_END = 38  # row: on every cat the eyes are above it, nose and mouth below
CLEARED = ((12, 31, 18, 46), (19, 31, 9, 55), (42, 58, 16, 48))  # rows and columns of the cats' brows, eyes and mouth
PLAIN = 0.06  # of the pixel range [0, 1]: a pixel no further from a head's colour is bare
WHITE = 0.97  # of the pixel range: brighter pixels are ground
OPAQUE = 0.35  # of the pixel range: a change of so much hides the head, a fainter one is see-through
DARK = 0.55  # of the pixel range: a line's brightest channel is below
INKED = 0.7  # pixels of ink: a row with more of it belongs to a feature
NEARLY_YELLOW = 0.012  # squared distance of a colour from YELLOW, below which a cat's head is bare somewhere
RIDGE = 1e-3  # penalty as a share of the inputs' variance; 1e-4 to 1e-2 score the same

ROWS, COLUMNS = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
RADIUS = ((ROWS + 0.5 - CENTRE) ** 2 + (COLUMNS + 0.5 - CENTRE) ** 2).sqrt()
UPPER = ROWS < CAT_EYES_END
INSIDE = (ROWS >= 14) & (ROWS < 62) & (COLUMNS >= 9) & (COLUMNS < 55)  # the cats' head without ears and outline


# ---------------------------------------------------------------- the parts of a round face


def head_colour(face: torch.Tensor) -> torch.Tensor:
    """(3, 1, 1) most frequent colour inside the head of a (3, H, W) picture."""
    colours, counts = (face[:, RADIUS < RIM] * 255).round().unique(dim=1, return_counts=True)
    return colours[:, counts.argmax(), None, None] / 255


def is_round(face: torch.Tensor) -> bool:
    """Whether a (3, H, W) picture is a disc of one colour, with features, on white."""
    colour = head_colour(face)
    plain = ((face - colour).abs().amax(0) < PLAIN).float()
    edge = plain[(RADIUS > RIM - 2) & (RADIUS < RIM + 1)].mean()  # hair, hats and hands cover it
    ground = (face > WHITE).all(0)[RADIUS > CENTRE + 1].float().mean()  # hearts and tears may spill over
    return bool(colour.min() < 0.9 and edge > 0.5 and plain[RADIUS < RIM + 1].mean() > 0.4 and ground > 0.65)


def features(face: torch.Tensor, colour: torch.Tensor) -> torch.Tensor:
    """(4, H, W) colour times opacity, and opacity, of what is drawn on a head of this colour."""
    towards_white = ((face - colour) * (1 - colour)).sum(0) / (1 - colour).square().sum()
    head = torch.where(RADIUS > RIM, colour + towards_white.clamp(0, 1) * (1 - colour), colour)
    change = face - head
    opacity = (change.abs().amax(0, keepdim=True) / OPAQUE).clamp(0, 1)
    return torch.cat([(head + change / opacity.clamp(min=1e-3)).clamp(0, 1) * opacity, opacity])


def blank_band(inked: list[bool]) -> tuple[int, int]:
    """First row of the widest band of blank rows between eyes and mouth, and the first row after it."""
    best, widest = (32, 44), -torch.inf  # where most faces have it, if this one has none
    for start in range(20, 48):
        continued = start > 20 and not inked[start - 1]
        if inked[start] or continued or not any(inked[:start]) or not any(inked[start:]):
            continue
        end = start + inked[start:].index(True)
        width = end - start - 0.3 * abs((start + end) / 2 - 35)  # rather in the middle of the face
        if width > widest:
            best, widest = (start, end), width
    return best


@dataclass(frozen=True)
class Parts:
    """Eyes (with brows) and mouth, and the row by which each is placed on the cat."""

    eyes: torch.Tensor  # (4, H, W)
    mouth: torch.Tensor  # (4, H, W)
    eyes_row: float  # where the eyes end
    mouth_row: float  # the middle of the mouth


def parts_of(face: torch.Tensor) -> Parts:
    """The parts of a (3, H, W) round face."""
    drawn = features(face, head_colour(face))
    colour, opacity = drawn[:3] / drawn[3:].clamp(min=1e-3), drawn[3:]
    red = (colour[0] > 0.7) & (colour[1] < 0.35)  # hearts, but no blush or tears
    inked = ((opacity[0] * ((colour.amax(0) < DARK) | red))[:, 9:55].sum(1) > INKED).tolist()
    eyes_end, mouth_start = blank_band(inked)
    middle = round((eyes_end + mouth_start) / 2)
    mouth = [row for row in range(middle, SIZE) if inked[row]] or [44, 49]
    return Parts(drawn * (ROWS < middle), drawn * (ROWS >= middle), eyes_end, (mouth[0] + mouth[-1] + 1) / 2)


def stack(parts: list[Parts], part: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The (N, 4, H, W) layers and (N,) rows of one part, eyes or mouth."""
    rows = [float(getattr(p, f"{part}_row")) for p in parts]
    return torch.stack([getattr(p, part) for p in parts]), torch.tensor(rows)


# ---------------------------------------------------------------- drawing them on a cat


def cat_head(cats: torch.Tensor) -> torch.Tensor:
    """(3, H, W) head without brows, eyes and mouth, from the (K, 3, H, W) known cats."""
    both = torch.cat([cats, cats.flip(3)])
    distances, plainest = (both - YELLOW).square().sum(1).min(0)
    plain = both.gather(0, plainest.expand(1, 3, SIZE, SIZE))[0]
    bare = INSIDE & (distances < NEARLY_YELLOW)  # no tears where any cat has none
    head = torch.where(bare, plain, both.median(0).values)
    for top, bottom, left, right in CLEARED:
        head[:, top:bottom, left:right] = YELLOW
    return head


Placing = tuple[float, float, float]  # scale of the rows, scale of the columns, row to bring the part's row to


def place(layers: torch.Tensor, rows: torch.Tensor, placing: Placing) -> torch.Tensor:
    """(N, 4, H, W) layers, scaled about their (N,) rows and the middle column and moved to the placing's row."""
    scale_rows, scale_columns, to = placing
    theta = torch.zeros(len(layers), 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = 1 / scale_columns, 1 / scale_rows
    theta[:, 1, 2] = ((CENTRE - to) / scale_rows + rows) / CENTRE - 1
    return F.grid_sample(layers, F.affine_grid(theta, list(layers.shape), align_corners=False), align_corners=False)


def paint(head: torch.Tensor, layers: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) pictures of the layers on the head."""
    return head * (1 - layers[:, 3:]) + layers[:, :3]


def fit_placing(layers, rows, head, cats, region, candidates) -> Placing:
    """The candidate that comes closest to the known cats within the region."""

    def error(placing: Placing) -> float:
        return ((paint(head, place(layers, rows, placing)) - cats)[..., region] ** 2).mean().item()

    return min(candidates, key=error)


def draw_cats(faces: torch.Tensor, cats: torch.Tensor, humans: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) cats with the features of the round faces, by the rule that the known pairs follow."""
    head = cat_head(cats)
    of_faces, of_humans = ([parts_of(picture) for picture in pictures] for pictures in (faces, humans))
    added = torch.zeros_like(faces)  # to the head
    searched = {
        "eyes": (UPPER, itertools.product((0.6, 0.8, 1.0), (0.9, 1.0, 1.1), range(29, 36))),
        "mouth": (~UPPER, itertools.product((0.8, 1.0), (0.9, 1.0, 1.1), range(44, 54))),
    }
    for part, (region, candidates) in searched.items():
        placing = fit_placing(*stack(of_humans, part), head, cats, region, candidates)
        added += paint(head, place(*stack(of_faces, part), placing)) - head
    return (head + added).clamp(0, 1)


# ---------------------------------------------------------------- the latent and the map


@dataclass(frozen=True)
class CatMap:
    """A PCA of the pictures, and a ridge regression from humans' latents to cats'."""

    pca: PCA
    regression: Ridge

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """(N, latent) of (N, 3, H, W) pictures in [0, 1]."""
        return torch.from_numpy(self.pca.transform(baselines.flatten(images))).float()

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in [0, 1] of (N, latent)."""
        pixels = torch.from_numpy(self.pca.inverse_transform(latents.numpy())).float()
        return pixels.clamp(0, 1).unflatten(1, (3, SIZE, SIZE))

    def as_cats(self, latents: torch.Tensor) -> torch.Tensor:
        """(N, latent) of humans to where their differences are those of cats."""
        return torch.from_numpy(self.regression.predict(latents.numpy())).float()


@threadpool_limits.wrap(limits=1)  # pictures this small lose by being shared out: 40 times on a busy machine
def fit(images: torch.Tensor, known: list[tuple[int, int]], latent: int) -> CatMap:
    """PCA and map from (N, 3, H, W) uint8 training faces and the (cat, human) pairs among them. Nothing is random."""
    pictures = data.to_float(images)
    cats, humans = map(list, zip(*known))
    faces = humans + [i for i in range(len(images)) if i not in cats + humans and is_round(pictures[i])]
    drawn = draw_cats(pictures[faces], pictures[cats], pictures[humans])
    drawn[: len(cats)] = pictures[cats]  # the known ones need no drawing
    pca = baselines.fit_pca(torch.cat([pictures, drawn]), latent)
    inputs, outputs = (pca.transform(baselines.flatten(part)) for part in (pictures[faces], drawn))
    penalty = RIDGE * inputs.var(0).mean() * len(inputs)  # Ridge adds it to sums of squares
    return CatMap(pca, Ridge(alpha=penalty).fit(inputs, outputs))
