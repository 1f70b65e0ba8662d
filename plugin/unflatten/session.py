"""One document taken apart: reads the canvas, asks the bridge, fills the layers, hands them over, checks the result.

The caller drives it by step(): from a timer in the window, from a loop in a batch. A step takes BUDGET seconds at most,
unless a single call of Krita's takes longer.
"""

from __future__ import annotations

import queue
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from .canvas import BUDGET, Canvas, Reading, View, view_pieces
from .comparison import compare
from .errors import UnflattenError
from .job import Choices, Done, Failed, JobRequest, LayerRows, Progressed, Stacked, Whole
from .krita_api import Document
from .launch import Installation, in_full
from .layers import Scratch
from .pixels import Space
from .upload import Upload

# Steps within which Krita makes a layer that was added the active one; in a document behind another it never does.
_ACTIVATED_WITHIN = 10

_PROFILES: dict[tuple[Space, str], bytes] = {}


class Ending(Enum):
    """The three ways a session can end."""

    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True)
class Outcome:
    """How a session ended, as a sentence for the artist and a hint. attention: the artist must see it."""

    ending: Ending
    message: str
    hint: str = ""
    attention: bool = False


class Session:
    """Takes one document apart. Nothing is written into any other document, whatever the artist does meanwhile."""

    def __init__(
        self,
        document: Document | None,
        choices: Choices,
        installation: Installation,
        on_progress: Callable[[Progressed], None],
        keep_original: bool = False,
    ) -> None:
        """keep_original: let the original layers show where a layer of the group is hidden.

        Raises UnflattenError where the document cannot be taken apart.
        """
        # Here, so that Krita's start does not wait for the WebSocket client.
        from .connection import JobConnection

        self.canvas = Canvas(document)
        self._keep_original = keep_original
        self.outcome: Outcome | None = None
        self.report: dict[str, Any] = {}
        self._on_progress = on_progress
        self._installation = installation
        self._scratch: Scratch | None = None
        self._layers = 0
        self._handed_over = False
        self._upload = Upload()
        request = JobRequest(
            width=self.canvas.width,
            height=self.canvas.height,
            strip=self.canvas.strip,
            space=self.canvas.space,
            view_pieces=0 if self.canvas.is_srgb else sum(1 for _ in view_pieces(self.canvas)),
            choices=choices,
        )
        self._connection = JobConnection(installation, request, self._upload)
        self._connection.start()
        self._work = self._run()

    def step(self) -> Outcome | None:
        """Do a little of the work; the outcome once there is no more to do."""
        if self.outcome is not None:
            return self.outcome
        try:
            self._check_document()
            if self.outcome is None:
                next(self._work)
        except StopIteration:
            self._end(Outcome(Ending.FAILED, "It ended without a result.", "Try again.", attention=True))
        except UnflattenError as error:
            cancelled = error.kind == "cancelled"
            ending = Ending.CANCELLED if cancelled else Ending.FAILED
            self._end_early(Outcome(ending, error.message, error.hint, attention=not cancelled))
        except Exception:
            # Text only: a kept traceback would keep Krita's objects alive after Krita has freed them.
            log = _write_log(self._installation, traceback.format_exc())
            self._end(Outcome(Ending.FAILED, "Something went wrong inside the plugin.", log, attention=True))
        if self.outcome is not None:
            self._release()
        return self.outcome

    def cancel(self) -> None:
        """End it now. The document is as it was, unless the layers are in it already."""
        if self.outcome is None:
            self._end_early(Outcome(Ending.CANCELLED, "Cancelled. The picture is as it was."))
            self._release()

    def _release(self) -> None:
        """Break every cycle of references.

        Python's collector would break it later, in whichever thread it happens to run, and there free wrappers of
        Krita's objects, which only the main thread may.
        """
        self._on_progress = _ignore
        # It may be running: cancelled from within one of Krita's calls. Then step() comes here again.
        with suppress(ValueError):
            self._work.close()

    def _check_document(self) -> None:
        if not self.canvas.is_open():
            self._end_early(Outcome(Ending.CANCELLED, f"“{self.canvas.name}” was closed, so it is not taken apart."))
        elif not self.canvas.is_same_size():
            self._end_early(
                Outcome(
                    Ending.CANCELLED,
                    f"“{self.canvas.name}” was resized while its layers were being made, so they no longer fit.",
                    "Start again: the picture is taken as it is now.",
                    attention=True,
                )
            )

    def _run(self) -> Generator[None, None, None]:
        """All the work. At each yield Krita goes on; before it is resumed, the document has been checked."""
        if self.canvas.is_srgb:
            self._upload.begin(b"")
            yield from self._read()
        else:
            yield from self._read_with_view()
        yield from self._receive(Whole)
        if self._scratch is None or not self._layers:
            raise UnflattenError("The bridge sent no layers.", "Try again.")
        changed = yield from compare(self.canvas, self._upload.pieces)
        # In the step in which nothing was being painted: Krita would end a stroke that is held.
        self._scratch.hand_over(visible=not changed.largest)
        self._handed_over = True
        for _ in range(_ACTIVATED_WITHIN):
            yield
            if self._scratch.reactivate():
                break
        self._scratch.redraw()
        yield from self._receive(Done)
        if changed.largest:
            self._finish(
                "The layers are ready, but the picture was changed while they were being made. "
                "Their group shows it as it was at the start, so it is left hidden.",
                "Show it with the eye in the Layers docker, or undo and start again.",
                attention=True,
            )
            return
        difference = yield from compare(self.canvas, self._upload.pieces)
        if difference.largest > 1:
            self._finish(
                f"The layers are ready, but the picture is not exactly the same: {difference.pixels} pixels differ.",
                "Undo takes the group away again.",
                attention=True,
            )
        else:
            self._finish(f"{self._in_the_document()} The picture looks the same as before.", self._notes())

    def _read(self) -> Iterator[None]:
        """Hand Krita's pixels to the connection as they are read."""
        while self.canvas.has_unfinished_strokes():
            yield
        reading = Reading(self.canvas)
        while not reading.finished:
            for strip in reading.strips(time.monotonic() + BUDGET):
                self._upload.add(strip)
            yield

    def _read_with_view(self) -> Iterator[None]:
        """The same for a document that is not 8-bit sRGB: its profile, then its pixels, then its 8-bit sRGB view."""
        self._scratch = Scratch(self.canvas)
        yield
        self._upload.begin(self._profile(self._scratch))
        yield
        yield from self._read()
        srgb_view = View(self.canvas, self._scratch.document, list(self._upload.pieces))
        while not srgb_view.finished:
            end = time.monotonic() + BUDGET
            while not srgb_view.finished and time.monotonic() < end:
                self._upload.add(srgb_view.piece())
            yield

    def _profile(self, scratch: Scratch) -> bytes:
        """The ICC profile. Krita gives it only by saving a document, which takes a moment: it is kept for later."""
        key = (self.canvas.space, self.canvas.profile)
        if key not in _PROFILES:
            _PROFILES[key] = scratch.profile()
        return _PROFILES[key]

    def _receive(self, last: type[Whole] | type[Done]) -> Iterator[None]:
        """Take what the connection hands on, up to the event `last`."""
        while True:
            end = time.monotonic() + BUDGET
            while time.monotonic() < end:
                try:
                    event = self._connection.events.get_nowait()
                except queue.Empty:
                    break
                if isinstance(event, Progressed):
                    self._on_progress(event)
                    if self._scratch is None and self._connection.sent:
                        # Not before: Krita lets no other thread work while it makes a document.
                        self._scratch = Scratch(self.canvas)
                elif isinstance(event, Stacked):
                    self._on_progress(Progressed("Filling the layers"))
                    self._layers = len(event.layers)
                    self._scratch = self._scratch or Scratch(self.canvas)
                    covers = not (self._keep_original and event.opaque)
                    self._scratch.build([layer.name for layer in event.layers], covers)
                    break
                elif isinstance(event, LayerRows) and self._scratch is not None:
                    self._scratch.write(event)
                    self._connection.take_back(event)
                elif isinstance(event, Done):
                    self.report = event.report
                elif isinstance(event, Failed):
                    raise UnflattenError(event.message, event.hint, event.code, event.kind)
                if isinstance(event, (last, Done)):
                    return
            yield

    def _in_the_document(self) -> str:
        cost = float(self.report.get("cost") or 0)
        many = f"{self._layers} layer{'s' * (self._layers != 1)}"
        return f"Taken apart into {many}{f' for ${cost:.2f}' if cost else ''}."

    def _notes(self) -> str:
        return "\n".join(str(note) for note in self.report.get("notes", []))

    def _finish(self, message: str, hint: str, attention: bool = False) -> None:
        self._end(Outcome(Ending.DONE, message, hint, attention))

    def _end_early(self, outcome: Outcome) -> None:
        """End it with `outcome`, unless the layers are in the document already: then only the last look is left out."""
        if self._handed_over and self._scratch is not None:
            if self.canvas.is_open():
                self._scratch.reactivate()
                self._scratch.redraw()
            outcome = Outcome(Ending.DONE, self._in_the_document(), self._notes())
        self._end(outcome)

    def _end(self, outcome: Outcome) -> None:
        if self.outcome is not None:
            return
        message, hint = (in_full(text, self._installation) for text in (outcome.message, outcome.hint))
        self.outcome = replace(outcome, message=message, hint=hint)
        self._connection.stop()
        if self._scratch is not None:
            self._scratch.close()
        # Frees the picture at once.
        self._upload = Upload()
        self._scratch = None


def _ignore(progress: Progressed) -> None:
    pass


def _write_log(installation: Installation, what: str) -> str:
    log = installation.data / "plugin.log"
    try:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}\n{what}\n")
    except OSError:
        return what.strip().splitlines()[-1]
    return f"What happened is written in {log}."
