"""One decomposition's life in Krita: reads the canvas, talks to the bridge, fills the layers, checks the result.

It is driven from outside by step(): a timer's in the window, a loop's in a batch. Each step holds Krita up for BUDGET
seconds at most, but for single calls of Krita's own.
"""

from __future__ import annotations

import queue
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any

from .canvas import Canvas, Reading, View, view_pieces
from .connection import Connection, Done, Failed, Outline, Pixels, Request, Rows, Stage
from .launch import Installation, Trouble
from .layers import Scratch, Vanished, WaitingGroup
from .pixels import Difference, Space

BUDGET = 0.04

_PROFILES: dict[tuple[Space, str], bytes] = {}


class Ending(Enum):
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True)
class Outcome:
    """How it ended, as a sentence for the artist and a hint. attention: it should not pass unread."""

    ending: Ending
    message: str
    hint: str = ""
    attention: bool = False


@dataclass(frozen=True)
class Wishes:
    """What the artist may set."""

    num_layers: str | int = "auto"
    seed: int | None = None
    backend: str = ""
    batch: bool = False

    def settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {"num_layers": self.num_layers}
        if self.seed is not None:
            settings["seed"] = self.seed
        return settings


class Session:
    """Takes one document apart. Nothing is written into any other document, whatever the artist does meanwhile."""

    def __init__(
        self, document: Any, wishes: Wishes, installation: Installation, on_stage: Callable[[Stage], None]
    ) -> None:
        """Raises Trouble where the document cannot be taken."""
        self.canvas = Canvas(document)
        self.outcome: Outcome | None = None
        self.report: dict[str, Any] = {}
        self._on_stage = on_stage
        self._installation = installation
        self._scratch: Scratch | None = None
        self._group: WaitingGroup | None = None
        self._pixels = Pixels()
        request = Request(
            document=self.canvas.name,
            width=self.canvas.width,
            height=self.canvas.height,
            strip=self.canvas.strip,
            profile=self.canvas.profile,
            dpi=self.canvas.dpi,
            space=self.canvas.space,
            view_pieces=0 if self.canvas.is_srgb else sum(1 for _ in view_pieces(self.canvas)),
            settings=wishes.settings(),
            backend=wishes.backend,
            batch=wishes.batch,
        )
        self._connection = Connection(installation, request, self._pixels)
        self._connection.start()
        self._work = self._journey()

    def step(self) -> bool:
        """Do a little; whether there is more to do. The outcome is set when there is not."""
        if self.outcome is not None:
            return False
        try:
            self._look_after_the_document()
            if self.outcome is None:
                next(self._work)
        except StopIteration:
            pass
        except Trouble as trouble:
            self._end(Outcome(Ending.FAILED, trouble.message, trouble.hint, attention=True))
        except Vanished:
            self._end(Outcome(Ending.CANCELLED, "The new group is gone from the document: stopped."))
        except Exception:
            # Text only: a kept traceback would keep Krita's objects alive after Krita has freed them.
            log = _write_down(self._installation, traceback.format_exc())
            self._end(Outcome(Ending.FAILED, "Something went wrong inside the plugin.", log, attention=True))
        if self.outcome is not None:
            self._let_go()
        return self.outcome is None

    def cancel(self) -> None:
        if self.outcome is None:
            self._end(Outcome(Ending.CANCELLED, "Cancelled. The picture is as it was."))
            self._let_go()

    def _let_go(self) -> None:
        """Leave no circle of references.

        Python's collector would undo it later in whichever thread it happens to run, a connection's for one, and there
        free wrappers of Krita's objects, which only the main thread may.
        """
        self._on_stage = _ignore
        # It may be running: cancelled from within one of Krita's calls. Then step() comes here again.
        with suppress(ValueError):
            self._work.close()

    def _look_after_the_document(self) -> None:
        if not self.canvas.is_open():
            self._end(Outcome(Ending.CANCELLED, f"“{self.canvas.name}” was closed, so it is not taken apart."))
        elif not self.canvas.is_same_size():
            self._end(
                Outcome(
                    Ending.CANCELLED,
                    f"“{self.canvas.name}” was resized while its layers were being made, so they no longer fit.",
                    "Start again: the picture is taken as it is now.",
                    attention=True,
                )
            )

    def _journey(self) -> Generator[None, None, None]:
        """The whole way. Each yield lets Krita live; whoever resumes has looked after the document first."""
        if self.canvas.is_srgb:
            self._pixels.begin(b"")
            yield from self._read()
        else:
            yield from self._read_with_view()
        if self._scratch is None:
            self._scratch = Scratch(self.canvas)
            yield
        yield from self._receive(self._scratch)
        if self._group is None:
            raise Trouble("The bridge sent no layers.", "Try again.")
        changed = Difference(self.canvas.space)
        yield from self._compare(changed)
        if changed.largest:
            self._group.refresh()
            self._finish(
                "The layers are ready, but the picture was changed while they were being made. "
                "Their group shows it as it was at the start, so it is left hidden.",
                "Show it with the eye in the Layers docker, or undo and start again.",
                attention=True,
            )
            return
        self._group.show()
        difference = Difference(self.canvas.space)
        yield from self._compare(difference)
        if difference.largest > 1:
            self._finish(
                f"The layers are ready, but the picture is not exactly the same: {difference.pixels} pixels differ.",
                "Undo takes the group away again.",
                attention=True,
            )
        else:
            self._finish(*self._good_news())

    def _read(self) -> Iterator[None]:
        """Krita's pixels, to the connection as they are read."""
        while self.canvas.has_unfinished_strokes():
            yield
        reading = Reading(self.canvas)
        while not reading.finished:
            for strip in reading.strips(time.monotonic() + BUDGET):
                self._pixels.add(strip)
            yield

    def _read_with_view(self) -> Iterator[None]:
        """The same for a document that is not 8-bit sRGB: its profile first, then its pixels, then how it looks."""
        self._scratch = Scratch(self.canvas)
        yield
        self._pixels.begin(self._profile(self._scratch))
        yield
        yield from self._read()
        looks = View(self.canvas, self._scratch.document, list(self._pixels.strips))
        while not looks.finished:
            end = time.monotonic() + BUDGET
            while not looks.finished and time.monotonic() < end:
                self._pixels.add(looks.piece())
            yield

    def _profile(self, scratch: Scratch) -> bytes:
        """Saving a document to read its profile takes a moment, so what was read once is kept."""
        key = (self.canvas.space, self.canvas.profile)
        if key not in _PROFILES:
            _PROFILES[key] = scratch.profile()
        return _PROFILES[key]

    def _receive(self, scratch: Scratch) -> Iterator[None]:
        """What the bridge says, until it is done."""
        while True:
            end = time.monotonic() + BUDGET
            while time.monotonic() < end:
                try:
                    event = self._connection.events.get_nowait()
                except queue.Empty:
                    break
                if isinstance(event, Stage):
                    self._on_stage(event)
                elif isinstance(event, Outline):
                    self._on_stage(Stage("Filling the layers"))
                    names = [layer.name for layer in event.layers]
                    self._group = WaitingGroup(self.canvas, scratch, names, covers=not event.opaque)
                    break
                elif isinstance(event, Rows) and self._group is not None:
                    self._group.write(event)
                    self._connection.take_back(event)
                elif isinstance(event, Done):
                    self.report = event.report
                    return
                elif isinstance(event, Failed):
                    raise Trouble(event.message, event.hint, event.code)
            yield

    def _compare(self, difference: Difference) -> Iterator[None]:
        """The projection now with the picture that was sent."""
        while self.canvas.has_unfinished_strokes():
            yield
        reading = Reading(self.canvas)
        number = 0
        while not reading.finished:
            for strip in reading.strips(time.monotonic()):
                sent = self._pixels.strips[number]
                number += 1
                # Qt compares at memory speed, and almost always finds the two equal.
                if strip != sent:
                    yield from _compare_slowly(difference, bytes(strip), bytes(sent), self.canvas.space.pixel_size)
            yield

    def _good_news(self) -> tuple[str, str]:
        count = int(self.report.get("layers", 0))
        notes = [str(note) for note in self.report.get("notes", [])]
        cost = float(self.report.get("cost") or 0)
        paid = f" for ${cost:.2f}" if cost else ""
        return f"Taken apart into {count} layers{paid}. The picture looks the same as before.", "\n".join(notes)

    def _finish(self, message: str, hint: str, attention: bool = False) -> None:
        self._end(Outcome(Ending.DONE, message, hint, attention))

    def _end(self, outcome: Outcome) -> None:
        if self.outcome is not None:
            return
        self.outcome = outcome
        self._connection.stop()
        if outcome.ending is not Ending.DONE and self._group is not None and self.canvas.is_open():
            self._group.take_back()
        if self._scratch is not None:
            self._scratch.close()
        # The picture need not wait in memory until Python tidies up.
        self._pixels = Pixels()
        self._scratch = self._group = None


def _compare_slowly(difference: Difference, one: bytes, other: bytes, pixel_size: int) -> Iterator[None]:
    """Pixel by pixel, in runs that keep within the budget."""
    run = 2**16 * pixel_size
    end = time.monotonic() + BUDGET
    for start in range(0, len(one), run):
        difference.add(one[start : start + run], other[start : start + run])
        if time.monotonic() >= end:
            yield
            end = time.monotonic() + BUDGET


def _ignore(stage: Stage) -> None:
    pass


def _write_down(installation: Installation, what: str) -> str:
    log = installation.data / "plugin.log"
    try:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}\n{what}\n")
    except OSError:
        return what.strip().splitlines()[-1]
    return f"What happened is written in {log}."
