"""Krita's document → the picture to send: which document it is, whether it can be taken, and its pixels in strips."""

from __future__ import annotations

import time
from typing import Any

from krita import Krita

from .launch import Trouble
from .pixels import BYTES_PER_PIXEL
from .protocol import CHUNK


class Canvas:
    """The document that a session started from: never “the active document”, which may change meanwhile."""

    def __init__(self, document: Any) -> None:
        if document is None or document.rootNode() is None:
            raise Trouble("No document is open.", "Open a picture first.", "no_document")
        _refuse_what_cannot_be_taken(document)
        self.document = document
        self.name = _title(document)
        self.bounds = _bounds(document)
        self.width, self.height = document.width(), document.height()
        self.strip = max(1, CHUNK // max(1, self.width * BYTES_PER_PIXEL))
        """Rows that one reading takes."""

    @property
    def profile(self) -> str:
        return str(self.document.colorProfile())

    @property
    def dpi(self) -> float:
        return float(self.document.resolution())

    def is_open(self) -> bool:
        """A closed document's wrapper has no root node. Wrappers compare with ==."""
        return self.document.rootNode() is not None and self.document in Krita.instance().documents()

    def is_same_size(self) -> bool:
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
        return self._row >= self._canvas.height

    def strips(self, until: float) -> Any:
        """Yield the next strips as QByteArrays, at least one, until the clock (time.monotonic) reaches `until`."""
        canvas = self._canvas
        while not self.finished:
            rows = min(canvas.strip, canvas.height - self._row)
            strip = canvas.document.pixelData(0, self._row, canvas.width, rows)
            # Krita answers with one byte a pixel while a mask is isolated.
            if len(strip) != canvas.width * rows * BYTES_PER_PIXEL:
                raise Trouble(
                    "The picture cannot be read while a mask is shown alone.", "Leave the mask’s view, then try again."
                )
            self._row += rows
            yield strip
            if time.monotonic() >= until:
                return


def _refuse_what_cannot_be_taken(document: Any) -> None:
    model, depth = document.colorModel(), document.colorDepth()
    if (model, depth) == ("RGBA", "U8"):
        return
    raise Trouble(
        f"“{_title(document)}” is {_MODELS.get(model, model)} with {_DEPTHS.get(depth, depth)}: "
        "only RGB pictures with 8 bits per channel can be taken apart.",
        "Convert a copy of it: Image → Convert Image Color Space…, RGB/Alpha, 8-bit integer/channel.",
        "bad_picture",
    )


_MODELS = {
    "RGBA": "RGB",
    "GRAYA": "grayscale",
    "A": "a single channel",
    "CMYKA": "CMYK",
    "LABA": "L*a*b*",
    "XYZA": "XYZ",
    "YCbCrA": "YCbCr",
}
_DEPTHS = {
    "U8": "8 bits per channel",
    "U16": "16 bits per channel",
    "F16": "16-bit floating point channels",
    "F32": "32-bit floating point channels",
}


def _bounds(document: Any) -> tuple[int, int, int, int]:
    bounds = document.bounds()
    return bounds.x(), bounds.y(), bounds.width(), bounds.height()


def _title(document: Any) -> str:
    """What the artist calls it: its file's name without the ending, else the document's title."""
    file = str(document.fileName()).replace("\\", "/").rsplit("/", 1)[-1]
    return file.rsplit(".", 1)[0] or file or str(document.name()) or "Unnamed"
