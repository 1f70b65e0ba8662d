"""Krita's document → the picture to send: whether it can be taken apart, and its pixels in strips."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from .errors import UnflattenError
from .krita_api import Document, Node, application
from .pixels import SRGB8, Space
from .protocol import CHUNK, MODELS

# Seconds that a step may take, unless a single call of Krita's takes longer.
BUDGET = 0.04

# Krita's own sRGB profile, which every Krita has: that of the view that a splitter sees.
SRGB_PROFILE = "sRGB-elle-V2-srgbtrc.icc"
_SRGB_PROFILES = (SRGB_PROFILE, "sRGB built-in")
# Pixels in a piece of the view: Krita converts about a fifth of what it reads in the same time.
_VIEW_PIXELS = 2**18


class Canvas:
    """The document that a session started from: never “the active document”, which may change meanwhile."""

    def __init__(self, document: Document | None) -> None:
        """Raises UnflattenError where the document cannot be taken apart."""
        if document is None or document.rootNode() is None:
            raise UnflattenError("No document is open.", "Open a picture first.", "no_document")
        _check_colour_model(document)
        _check_still(document, document.rootNode())
        self.document = document
        self.name = _title(document)
        self.bounds = _bounds(document)
        self.width, self.height = document.width(), document.height()
        self.space = Space(str(document.colorModel()), str(document.colorDepth()))
        self.strip = max(1, CHUNK // max(1, self.width * self.space.pixel_size))
        """Rows in each piece that is read."""

    @property
    def is_srgb(self) -> bool:
        """Whether its own pixels are 8-bit sRGB, so that a splitter can see them as they are."""
        return self.space == SRGB8 and self.profile in _SRGB_PROFILES

    @property
    def profile(self) -> str:
        """The name of its colour profile."""
        return str(self.document.colorProfile())

    def is_open(self) -> bool:
        """A closed document's wrapper has no root node. Wrappers compare with ==."""
        return self.document.rootNode() is not None and self.document in application().documents()

    def is_same_size(self) -> bool:
        """Whether it is as large, and where, as when the session started."""
        return _bounds(self.document) == self.bounds

    def has_unfinished_strokes(self) -> bool:
        """Whether Krita still paints or recomputes something. Does not wait for it, as waitForDone() would."""
        if not self.document.tryBarrierLock():
            return True
        self.document.unlock()
        return False


class Reading:
    """Reads the projection of a canvas strip by strip, so that no step holds Krita up for long."""

    def __init__(self, canvas: Canvas) -> None:
        self._canvas = canvas
        self._row = 0

    @property
    def finished(self) -> bool:
        """Whether all is read."""
        return self._row >= self._canvas.height

    def strips(self, until: float) -> Iterator[Any]:
        """Yield the next strips as QByteArrays, at least one, until the clock (time.monotonic) reaches `until`."""
        canvas = self._canvas
        # Not Document.pixelData: while a layer or mask is isolated, that gives what is shown instead of the picture.
        root = canvas.document.rootNode()
        assert root is not None
        while not self.finished:
            rows = min(canvas.strip, canvas.height - self._row)
            strip = root.projectionPixelData(0, self._row, canvas.width, rows)
            if len(strip) != canvas.width * rows * canvas.space.pixel_size:
                raise UnflattenError("Krita does not tell the picture's pixels.", "Try again.")
            self._row += rows
            yield strip
            if time.monotonic() >= until:
                return


class View:
    """Krita's own 8-bit sRGB view of a canvas, piece by piece.

    Each is converted in a layer of its own, in a document that has no window: the artist's has nothing to undo. A piece
    never has rows of two strips.
    """

    def __init__(self, canvas: Canvas, scratch: Document, strips: Sequence[Any]) -> None:
        """scratch: a document of the canvas's own colours. strips: the whole canvas, as it was read."""
        self._canvas = canvas
        self._scratch = scratch
        self._strips = strips
        self._pieces = list(view_pieces(canvas))
        self._next = 0

    @property
    def finished(self) -> bool:
        """Whether all pieces are converted."""
        return self._next >= len(self._pieces)

    def piece(self) -> Any:
        """The next piece as a QByteArray."""
        canvas = self._canvas
        number, row, rows = self._pieces[self._next]
        stride = canvas.width * canvas.space.pixel_size
        node = self._scratch.createNode("view", "paintlayer")
        node.setPixelData(self._strips[number].mid(row * stride, rows * stride), 0, 0, canvas.width, rows)
        node.setColorSpace(SRGB8.model, SRGB8.depth, SRGB_PROFILE)
        self._next += 1
        return node.pixelData(0, 0, canvas.width, rows)


def view_pieces(canvas: Canvas) -> Iterator[tuple[int, int, int]]:
    """The strip, the row in it and the number of rows of each piece of the view."""
    step = max(1, _VIEW_PIXELS // canvas.width)
    for number, top in enumerate(range(0, canvas.height, canvas.strip)):
        strip = min(canvas.strip, canvas.height - top)
        for row in range(0, strip, step):
            yield number, row, min(step, strip - row)


def _check_colour_model(document: Document) -> None:
    if document.colorModel() in MODELS:
        return
    raise UnflattenError(
        f"“{_title(document)}” is of a colour model that cannot be taken apart.",
        "Convert a copy of it: Image → Convert Image Color Space…, RGB/Alpha.",
        "bad_picture",
    )


def _check_still(document: Document, root: Node | None) -> None:
    """A group has one picture for all frames: in the others it would cover what moves."""
    nodes = [root] if root is not None else []
    frames = range(1, document.animationLength() + 1)
    for node in nodes:  # grows
        if node.animated() and any(node.hasKeyframeAtTime(frame) for frame in frames):
            raise UnflattenError(
                f"“{_title(document)}” is an animation, and its other frames would be covered.",
                "Take one frame into a document of its own: Edit → Copy Merged, then Edit → Paste into New Image.",
                "bad_picture",
            )
        nodes += node.childNodes()


def _bounds(document: Document) -> tuple[int, int, int, int]:
    bounds = document.bounds()
    return bounds.x(), bounds.y(), bounds.width(), bounds.height()


def _title(document: Document) -> str:
    """What the artist calls it: its file's name without the ending, else the document's title."""
    file = str(document.fileName()).replace("\\", "/").rsplit("/", 1)[-1]
    return file.rsplit(".", 1)[0] or file or str(document.name()) or "Unnamed"
