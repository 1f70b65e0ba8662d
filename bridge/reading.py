"""Reading: where lines of text are in a picture, and what they say. PP-OCRv6, whose weights come with rapidocr."""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]
Quad = NDArray[np.float32]

LOOK_SIDES = (1152, 448)
"""Pixels of a look's longer side: one for type of all usual sizes, one from afar for titles that fill the picture."""
MOST_ENLARGED = 2.0
"""How much larger than it is a picture is looked at, at most."""
LEAST_SIDE = 16
"""Pixels; below this on the short side of a look there is nothing to read."""
FRAME = 16
"""Pixels around a look: type that touches the picture's edge is found only with some room around it."""
MODEL_STEP = 32
"""The detector's sides are multiples of this."""
UNBOUNDED = 100_000
"""For the library's own limit on sides: sizes are chosen here."""
THREADS = 2
"""Fixed, whatever the computer has: sums in another order may round otherwise, and the same picture gives the same
bytes."""
SURE_BOX = 0.5
"""A box that the detector is less sure of must read better."""
DOUBTFUL_BOX = 0.3
"""One that it is less sure of than this is none."""
READ_HEIGHT = 48
"""Pixels; what the recogniser's input is scaled to."""
SHRINK_FIRST = 0.6
"""A line that is made smaller than this is reduced before it is warped: warping alone would skip pixels."""
MOST_BOXES = 120
"""That are read."""
LOOKALIKES = set("oO0QcCuUvVxXlI1iJL|/\\-–—_.,:;'\"`·•°*~^()[]<>=+一二三口日丨丶〇")
"""What a round, a bar or a speck reads as."""
SYMBOLS = set("&%€$£¥@#!?§")
"""Signs that are text by themselves."""


@dataclass(frozen=True)
class ReadParams:
    """What is believed to be text, and which pieces make one line. Lengths in heights of the line unless in pixels."""

    upright: float = 1.4
    """A box that is lower than so many times its width is read upright …"""
    turned: float = 2.0
    """… one that is higher than this only turned by a quarter, and one between them in both ways."""
    least_score: float = 0.75
    """How well text in a sure box must read …"""
    doubtful_score: float = 0.9
    """… in a doubtful one, or upside down …"""
    short_score: float = 0.9
    """… where it has no more letters than the next number …"""
    short: int = 2
    """… which is this …"""
    lone_score: float = 0.95
    """… and where it is a single sign on its own."""
    upside_down: int = 5
    """Letters that a line read upside down must have."""
    least_side: int = 6
    """Pixels; lower or narrower boxes hold no text."""
    doubled: float = 0.4
    """Of the smaller box: boxes that share as much show the same line."""
    size_ratio: float = 1.35
    """Pieces of one line differ in height by no more than this …"""
    angle: float = 6.0
    """… in direction by no more than so many degrees …"""
    gap: float = 0.9
    """… with a smaller gap between them than this …"""
    lap: float = 0.8
    """… overlapping by less than this …"""
    shift: float = 0.25
    """… and with their baselines apart by less than this."""


PARAMS = ReadParams()


@dataclass(frozen=True)
class ReadLine:
    """A line of text.

    quad: (4, 2) float32 corners in the picture's pixels, clockwise from the text's own top left, a little larger than
    the type.
    score: 0…1, how sure the reading is.
    """

    text: str
    score: float
    quad: Quad

    @property
    def height(self) -> float:
        return float(np.linalg.norm(self.quad[3] - self.quad[0]) + np.linalg.norm(self.quad[2] - self.quad[1])) / 2

    @property
    def width(self) -> float:
        return float(np.linalg.norm(self.quad[1] - self.quad[0]) + np.linalg.norm(self.quad[2] - self.quad[3])) / 2

    @property
    def angle(self) -> float:
        """Degrees, clockwise as seen, of the line's direction of reading."""
        across = self.quad[1] - self.quad[0] + self.quad[2] - self.quad[3]
        return float(np.degrees(np.arctan2(across[1], across[0])))


@cache
def _engine() -> Any:
    import rapidocr  # a second to import: only a picture that is read pays for it

    models = Path(rapidocr.__file__).parent / "models"
    return rapidocr.RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.max_side_len": UNBOUNDED,
            "Global.min_side_len": 1,
            "Global.use_vertical_padding": False,
            "Global.text_score": 0.0,
            "Det.limit_side_len": MODEL_STEP,
            # given by path, so that rapidocr never checks them against a list and fetches others
            "Det.model_path": str(models / "PP-OCRv6_det_small.onnx"),
            "Rec.model_path": str(models / "PP-OCRv6_rec_small.onnx"),
            "EngineConfig.onnxruntime.intra_op_num_threads": THREADS,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )


def read_lines(rgb: Rgb, checkpoint: Callable[[], None] = lambda: None, params: ReadParams = PARAMS) -> list[ReadLine]:
    """The lines of text in `rgb` (H, W, 3) uint8, from top to bottom; what only might be text is left out.

    Boxes come from the detector (DB: Liao and others, 2020) at a bounded size, so time and result do not depend on the
    picture's resolution; words come from the recogniser on each box. `checkpoint` is called between steps, may raise.
    """
    boxes: list[tuple[Quad, float]] = []
    for side in LOOK_SIDES:
        checkpoint()
        boxes += _boxes(rgb, side)
    lines: list[ReadLine] = []
    for quad, sureness in sorted(boxes, key=lambda box: -box[1])[:MOST_BOXES]:
        checkpoint()
        line = _read(rgb, quad, params)
        if _is_text(line, sureness, params):
            lines.append(line)
    lines = _join_fragments(_without_doubles(lines, params.doubled), params)
    lines = [line for line in lines if not _is_lone_lookalike(line, params.lone_score)]
    return sorted(lines, key=lambda line: float(line.quad[:, 1].min()))


def score_reading(image: Rgb, text: str) -> float:
    """How well `image` (h, w, 3) uint8, one upright line, reads as `text`: 0…1. Case and spaces do not count."""
    read, score = _recognise(image)
    return score * _likeness(_letters(read), _letters(text))


def straighten(image: NDArray[Any], quad: Quad, height: int | None = None) -> NDArray[Any]:
    """What `quad` (4, 2) covers of `image` (H, W) or (H, W, C), upright, `height` pixels high (its own if None)."""
    wide = (np.linalg.norm(quad[1] - quad[0]) + np.linalg.norm(quad[2] - quad[3])) / 2
    high = (np.linalg.norm(quad[3] - quad[0]) + np.linalg.norm(quad[2] - quad[1])) / 2
    h = max(1, round(float(high))) if height is None else height
    w = max(1, round(float(wide / max(high, 1e-3) * h)))
    to = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
    shrink = h / max(float(high), 1e-3)
    if shrink < SHRINK_FIRST:
        low, top = np.floor(quad.min(0)).clip(0).astype(int), np.ceil(quad.max(0)).astype(int)
        part = image[low[1] : top[1] + 1, low[0] : top[0] + 1]
        small = cv2.resize(part, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        image, quad = small, ((quad - low) * shrink).astype(np.float32)
    turn = cv2.getPerspectiveTransform(np.ascontiguousarray(quad, np.float32), to)
    return cv2.warpPerspective(image, turn, (w, h), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _boxes(rgb: Rgb, side: int) -> list[tuple[Quad, float]]:
    """Boxes of what may be text and how sure the detector is, in `rgb` scaled to `side` (at most doubled)."""
    height, width = rgb.shape[:2]
    scale = min(MOST_ENLARGED, side / max(height, width))
    w, h = round(width * scale), round(height * scale)
    if min(w, h) < LEAST_SIDE:
        return []
    small = cv2.resize(rgb, (w, h), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    small = cv2.copyMakeBorder(small, FRAME, FRAME, FRAME, FRAME, cv2.BORDER_REPLICATE)
    found = _engine()(small[..., ::-1], use_det=True, use_cls=False, use_rec=False, box_thresh=DOUBTFUL_BOX)
    if found.boxes is None:
        return []
    scales = np.array([w / width, h / height])
    boxes = ((np.asarray(box) - FRAME) / scales for box in found.boxes)
    return [(np.asarray(box, np.float32), float(score)) for box, score in zip(boxes, found.scores, strict=True)]


def _read(rgb: Rgb, quad: Quad, params: ReadParams) -> ReadLine:
    """What the box says, upright or turned by a quarter or a half, whichever reads best; quad turned with it."""
    best = ReadLine("", 0.0, quad)
    high = np.linalg.norm(quad[3] - quad[0])
    wide = np.linalg.norm(quad[1] - quad[0])
    upright, quarter, half, back = range(4)
    if high < params.upright * wide:
        turns = (upright,)
    elif high < params.turned * wide:
        turns = (upright, quarter, back)
    else:
        turns = (quarter, back)
    for turn in (*turns, half):
        if turn == half and (best.score >= params.least_score or high > wide):
            continue  # upside down is rare: tried only where nothing else could be read
        turned = np.roll(quad, -turn, axis=0)
        text, score = _recognise(straighten(rgb, turned, READ_HEIGHT))
        if turn == half and (score < params.doubtful_score or len(_letters(text)) < params.upside_down):
            continue
        if text.strip() and score > best.score:
            best = ReadLine(text.strip(), score, turned)
    return best


def _recognise(image: Rgb) -> tuple[str, float]:
    image = np.ascontiguousarray(image[..., ::-1])
    answer = _engine()(image, use_det=False, use_cls=False, use_rec=True)
    return (answer.txts[0], float(answer.scores[0])) if answer.txts else ("", 0.0)


def _letters(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKC", text).casefold() if not c.isspace())


def _likeness(a: str, b: str) -> float:
    """1 − edit distance / length of the longer."""
    if not a or not b:
        return 0.0
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return 1 - row[-1] / max(len(a), len(b))


def _is_text(line: ReadLine, sureness: float, params: ReadParams) -> bool:
    """Whether a reading is to be believed: the shorter it is, and the less sure the box, the better it must read."""
    letters = _letters(line.text)
    if not letters or min(line.height, line.width) < params.least_side:
        return False
    least = params.least_score if sureness >= SURE_BOX else params.doubtful_score
    if len(letters) <= params.short:
        least = max(least, params.short_score)
    if not any(c.isalnum() or c in SYMBOLS for c in letters):
        return False
    if len(letters) > 1 and len({c for c in letters if c.isalnum()}) == 1 and set(letters) <= LOOKALIKES:
        return False  # "ooo", "III", "00.00": wheels, fences, stripes
    return line.score >= least


def _is_lone_lookalike(line: ReadLine, least_score: float) -> bool:
    """Whether the line is a single sign, on its own, that as well may be a ring, a bar or a leaf."""
    if len(_letters(line.text)) > 1:
        return False
    sign = line.text.strip()
    return sign in LOOKALIKES or line.score < least_score or not (sign.isascii() or sign in SYMBOLS)


def _outline(quad: Quad) -> NDArray[np.float32]:
    return np.asarray(cv2.convexHull(np.ascontiguousarray(quad, np.float32)), np.float32)


def _shared(a: Quad, b: Quad) -> float:
    """The area that both quads cover, in pixels."""
    return float(cv2.intersectConvexConvex(_outline(a), _outline(b))[0])


def _without_doubles(lines: list[ReadLine], doubled: float) -> list[ReadLine]:
    """Where looks from near and afar found the same line, the reading that is longer and surer."""
    kept: list[ReadLine] = []
    for line in sorted(lines, key=lambda line: -line.score * len(_letters(line.text))):
        area = line.width * line.height
        if all(_shared(line.quad, k.quad) < doubled * min(area, k.width * k.height) for k in kept):
            kept.append(line)
    return kept


def _join_fragments(lines: list[ReadLine], params: ReadParams) -> list[ReadLine]:
    """Pieces of one line (words far apart, spaced-out titles) joined, left to right."""
    lines = sorted(lines, key=lambda line: float(line.quad[:, 0].min()))
    joined = True
    while joined:
        joined = False
        for i, a in enumerate(lines):
            for b in lines[i + 1 :]:
                pair = (a, b) if _runs_on(a, b, params) else (b, a) if _runs_on(b, a, params) else None
                if pair:
                    lines = [line for line in lines if line is not a and line is not b]
                    lines.append(_joined(*pair))
                    joined = True
                    break
            if joined:
                break
    return lines


def _runs_on(a: ReadLine, b: ReadLine, params: ReadParams) -> bool:
    """Whether b goes on where a ends: same height, direction and baseline, and hardly a gap."""
    h = min(a.height, b.height)
    turn = (a.angle - b.angle + 180) % 360 - 180
    if max(a.height, b.height) > params.size_ratio * h or abs(turn) > params.angle:
        return False
    along = a.quad[1] - a.quad[0]
    along = along / max(float(np.linalg.norm(along)), 1e-3)
    up = np.array([-along[1], along[0]], np.float32)
    gap = float((b.quad[0] + b.quad[3] - a.quad[1] - a.quad[2]) @ along) / 2
    shift = float((b.quad.mean(0) - a.quad.mean(0)) @ up)
    return -params.lap * h < gap < params.gap * h and abs(shift) < params.shift * h


def _joined(a: ReadLine, b: ReadLine) -> ReadLine:
    quad = np.stack([a.quad[0], b.quad[1], b.quad[2], a.quad[3]]).astype(np.float32)
    count = len(a.text), len(b.text)
    score = (a.score * count[0] + b.score * count[1]) / sum(count)
    return replace(a, text=f"{a.text} {b.text}", score=score, quad=quad)
