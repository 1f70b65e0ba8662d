"""A splitter for the bridge's own tests: quick, exact, and badly behaved when its prompt says so."""

import logging
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise

import numpy as np

from bridge.backends.base import Capabilities, DraftLayer, Estimate, Event, Handle, JobContext, Progress
from bridge.errors import UnflattenError
from bridge.picture import Layer, Picture
from bridge.settings import Settings

SECONDS_ESTIMATED = 2.0


class Trial:
    """Cuts the picture into as many horizontal bands as layers are wanted, over the whole picture as background.

    The prompt is a verb and its argument: `slow 3` works three seconds, `deaf 3` without looking up,
    `die 9` ends its process by that signal, `memory`, `bug`, `print`, `remote JOURNAL`,
    `held 3` waits for a remote service, `refuse CODE`.
    """

    name = "trial"

    def capabilities(self) -> Capabilities:
        return Capabilities(title="Trial")

    def estimate(self, width: int, height: int, settings: Settings) -> Estimate:
        return Estimate(SECONDS_ESTIMATED)

    def draft(self, picture: Picture, settings: Settings, job: JobContext) -> Iterator[Event]:
        verb, _, argument = settings.prompt.partition(" ")
        yield Progress("Beginning", 1, 2)
        match verb:
            case "slow":
                until = time.monotonic() + float(argument)
                while time.monotonic() < until:
                    job.checkpoint()
                    time.sleep(0.02)
            case "deaf":
                time.sleep(float(argument))
            case "die":
                os.kill(os.getpid(), int(argument))
                signal.pause()
            case "memory":
                raise MemoryError
            case "bug":
                raise ValueError(settings.prompt)
            case "held":
                yield Handle("remote-8")
                time.sleep(float(argument))
            case "refuse":
                raise UnflattenError("The splitter refuses this picture.", "Try another.", code=argument)
            case "print":
                print(settings.prompt, flush=True)
                print(settings.prompt, file=sys.stderr, flush=True)
                library = logging.getLogger("some.library")
                library.addHandler(logging.StreamHandler(sys.__stderr__))
                library.error("read %s", settings.prompt)
            case "remote":
                yield Handle("remote-7")
                with closing(sqlite3.connect(f"file:{argument}?mode=ro", uri=True)) as journal:
                    written = journal.execute("SELECT handle FROM job WHERE state = 'running'").fetchall()
                if written != [("remote-7",)]:
                    raise ValueError("the handle was not in the journal")
            case _:
                pass
        yield Progress("Cutting", 2, 2)
        yield from _bands(picture, 4 if settings.num_layers == "auto" else settings.num_layers - 1)


def _bands(picture: Picture, count: int) -> Iterator[DraftLayer]:
    width, height = picture.width, picture.height
    view = picture.view
    back = np.empty_like(view)
    back[...] = view[:1, :1]
    back[..., 3] = 255
    yield DraftLayer(Layer("Background", back, kind="background"), width, height)
    edges = np.linspace(0, height, count + 1).astype(int)
    for number, (top, bottom) in enumerate(pairwise(edges), 1):
        if bottom > top:  # `top` stays a number of numpy's, as real splitters hand them over
            yield DraftLayer(Layer(f"Band {number}", view[top:bottom].copy(), top=top), width, height)
