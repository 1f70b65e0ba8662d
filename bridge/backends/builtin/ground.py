"""What a picture's ground is: parts of even colour that run off its edges or recur all over it."""

from dataclasses import dataclass

import cv2
import numpy as np

from bridge.backends.builtin.masks import (
    SQUARE,
    Floats,
    Mask,
    components,
    fill_pinholes,
    grow_square,
    shrink_square,
    square,
)
from bridge.backends.builtin.parts import Parts, Rgb, smooth_parts
from bridge.pyramid import push_pull


@dataclass(frozen=True)
class PartParams:
    """How a picture is divided into parts. Levels of 255."""

    denoised: int = 3
    """Pixels a side of the median filter that comes first."""
    usual: float = 75.0
    """The percentile of what it changed that is taken for the picture's grain."""
    clean: float = 1.0
    """A picture with no more grain than this is clean …"""
    clean_step: int = 4
    """… and its parts end at larger steps than this: a white sail before a pale sky …"""
    grainy_step: int = 5
    """… others' at larger ones than this."""


@dataclass(frozen=True)
class GroundParams:
    """Which parts are ground. Saliences 0…1; areas are shares of the picture unless in pixels."""

    outstanding: float = 0.75
    """What stands out by more than this is no ground, unless it has the ground's colour."""
    leaving_salience: float = 0.6
    """A part below this is ground where it leaves the picture …"""
    leaving_spread: float = 0.08
    """… at places this far apart, a share of the canvas's edge …"""
    leaving_contact: float = 1.0
    """… or along so many pixels for each on the side of a square of its size."""
    dull_salience: float = 0.3
    """A part below this is ground where …"""
    dull_contact: float = 0.12
    """… it leaves the picture along so many such pixels …"""
    dull_area: float = 0.004
    """… and is this large."""
    framing: float = 0.05
    """The share of the canvas's edge of a part that frames the picture."""
    recurring: int = 8
    """So many parts of one colour and like size …"""
    across: float = 0.6
    """… strewn over this share of the picture's sides are a pattern."""
    recurring_alike: float = 9.0
    """Lab levels by which their colours may differ …"""
    recurring_size: float = 0.3
    """… the share of the largest one's area that they have at least …"""
    speck: int = 6
    """… and pixels that they have at least …"""
    recurring_largest: float = 0.06
    """… and their largest area."""
    cut_off_alike: float = 7.0
    """Lab levels by which a part that objects cut off may differ from the ground elsewhere …"""
    cut_off_least: int = 10
    """… pixels that it has more than …"""
    cut_off_source: int = 20
    """… and pixels that the ground's parts of that colour each have more than …"""
    cut_off_sources: tuple[int, int] = (2, 4)
    """… of which it takes so many, or so many where the part itself stands out …"""
    cut_off_larger: float = 2.0
    """… so many times as large together."""


@dataclass(frozen=True)
class LeakParams:
    """Which things are ground only because a soft shadow joins them to it step by small step."""

    stands_out: float = 0.8
    """Their salience."""
    least: float = 0.004
    """Of the picture: their smallest area."""
    inside: int = 2
    """Pixels in from their edge where their colour is read …"""
    outside: int = 3
    """… and out from it where the ground's is."""
    reach: int = 15
    """Pixels a side of the window over which it is averaged."""
    fewest: float = 0.01
    """The share of that window that is read at least."""
    contrast: float = 25.0
    """Levels by which the two differ …"""
    share: float = 0.75
    """… along this share of their edge."""


@dataclass(frozen=True)
class RestParams:
    """What the ground does not explain. Levels of 255."""

    differs: float = 9.0
    """What differs from the ground continued beneath it by more than this …"""
    between: float = 6.0
    """… and lies outside the colours of the ground close by by more than this, is no ground."""
    near: int = 3
    """Pixels: how far “close by” is."""
    pinhole: float = 0.0006
    """Of the picture: holes smaller than this are filled."""


PARTS = PartParams()
GROUND = GroundParams()
LEAKS = LeakParams()
REST = RestParams()


@dataclass(frozen=True)
class Ground:
    """mask: (h, w) bool, what belongs to the ground; rest: (h, w) bool, what the ground does not explain."""

    mask: Mask
    rest: Mask


def find_ground(image: Rgb, salience: Floats) -> Ground:
    """The ground of `image` (h, w, 3) uint8, a few hundred pixels wide; `salience`: (h, w) float32 0…1."""
    calm = np.asarray(cv2.medianBlur(image, PARTS.denoised), np.uint8)
    grain = float(np.percentile(cv2.absdiff(image, calm).max(-1), PARTS.usual))
    step = PARTS.clean_step if grain <= PARTS.clean else PARTS.grainy_step
    parts = Parts.of(image, salience, smooth_parts(calm, step))
    ground = _runs_off(parts) | (_recurs(parts) & (parts.salience < GROUND.outstanding))
    ground |= _same_colour(parts, ground)
    mask = ground[parts.labels]
    mask &= ~_leaked(image, mask, salience)
    return Ground(mask, _unexplained(image, mask))


def _runs_off(parts: Parts, params: GroundParams = GROUND) -> Mask:
    """(n,) parts that leave the picture on two sides or along much of their outline, as a ground does."""
    total = parts.area.sum()
    contact = parts.border / np.sqrt(parts.area)
    leaves = (parts.spread > params.leaving_spread) | (contact > params.leaving_contact)
    leaves &= parts.salience < params.leaving_salience
    dull = (parts.salience < params.dull_salience) & (contact > params.dull_contact)
    dull &= parts.area > params.dull_area * total
    frames = (parts.salience < params.outstanding) & (parts.border > params.framing * parts.border_length)
    return leaves | dull | frames


def _recurs(parts: Parts, params: GroundParams = GROUND) -> Mask:
    """(n,) parts of a pattern: many of one colour and like size that are strewn over the picture."""
    recurs = np.zeros(len(parts.area), bool)
    largest = params.recurring_largest * parts.area.sum()
    left = np.flatnonzero((parts.area >= params.speck) & (parts.area < largest))
    left = left[np.argsort(-parts.area[left], kind="stable")]
    while len(left) >= params.recurring:
        same = np.abs(parts.colour[left] - parts.colour[left[0]]).max(1) < params.recurring_alike
        of_size = left[same & (parts.area[left] > params.recurring_size * parts.area[left[0]])]
        if len(of_size) >= params.recurring and np.ptp(parts.centre[of_size], axis=0).min() > params.across:
            recurs[left[same]] = True
        left = left[~same]
    return recurs


def _same_colour(parts: Parts, ground: Mask, params: GroundParams = GROUND) -> Mask:
    """(n,) parts that objects cut off from a ground which shows elsewhere: of one colour with larger parts of it."""
    same = np.zeros(len(ground), bool)
    known = np.flatnonzero(ground & (parts.area > params.cut_off_source))
    for part in np.flatnonzero(~ground & (parts.area > params.cut_off_least)):
        alike = np.abs(parts.colour[known] - parts.colour[part]).max(1) < params.cut_off_alike
        like = known[alike]
        needed = params.cut_off_sources[0 if parts.salience[part] < params.outstanding else 1]
        larger = parts.area[like].sum() > params.cut_off_larger * parts.area[part]
        same[part] = len(like) >= needed and larger
    return same


def _leaked(image: Rgb, ground: Mask, salience: Floats, params: LeakParams = LEAKS) -> Mask:
    """(h, w) things that a soft shadow joins to the ground: they stand out, and nearly all around them the colours of
    both sides differ."""
    values = image.astype(np.float32)
    standing = (ground & (salience > params.stands_out)).astype(np.uint8)
    found = components(cv2.morphologyEx(standing, cv2.MORPH_OPEN, SQUARE) > 0)
    leaked = np.zeros(ground.shape, bool)
    for number in range(1, found.count):
        piece = found.labels == number
        edge = grow_square(piece, 1) & ~piece
        runs_off = piece[0].any() or piece[-1].any() or piece[:, 0].any() or piece[:, -1].any()
        if found.area[number] < params.least * piece.size or runs_off:
            continue
        inside, within = _mean_near(values, shrink_square(piece, params.inside), params)
        outside, without = _mean_near(values, ~grow_square(piece, params.outside), params)
        edge &= within & without
        if edge.any() and (np.abs(inside - outside).max(-1)[edge] > params.contrast).mean() > params.share:
            leaked |= piece
    return leaked


def _mean_near(values: Floats, among: Mask, params: LeakParams) -> tuple[Floats, Mask]:
    """The mean of `values` (h, w, 3) over the pixels of `among` near by, and where there are any."""
    window = (params.reach, params.reach)
    weight = cv2.blur(among.astype(np.float32), window)
    mean = cv2.blur(values * among[..., None], window) / np.maximum(weight, 1e-6)[..., None]
    return mean.astype(np.float32), weight > params.fewest


def _unexplained(image: Rgb, ground: Mask, params: RestParams = REST) -> Mask:
    """(h, w) what differs from the ground continued beneath it, and is no seam.

    A seam has a colour between those of the ground close by.
    """
    values = image.astype(np.float32)
    sure = shrink_square(ground, 1)
    distance = np.abs(values - push_pull(values, sure.astype(np.float32))).max(-1)
    near = square(params.near)
    inner = (cv2.erode(ground.astype(np.uint8), np.ones((2, 2), np.uint8)) > 0)[..., None]
    highest = cv2.dilate(np.where(inner, values, np.float32(-np.inf)), near)
    lowest = cv2.erode(np.where(inner, values, np.float32(np.inf)), near)
    seam = ((values <= highest + params.between) & (values >= lowest - params.between)).all(-1)
    rest = (~ground & (distance > params.differs) & ~seam).astype(np.uint8)
    rest = cv2.morphologyEx(rest, cv2.MORPH_CLOSE, SQUARE)
    return fill_pinholes(rest > 0, params.pinhole * rest.size)
