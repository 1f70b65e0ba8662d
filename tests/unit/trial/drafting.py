"""What the trial backends do with pictures: their module alone is loaded by the engine, this one by workers."""

import io
import logging
import os
import signal
import sys
import time
from collections.abc import Generator, Iterator
from itertools import pairwise
from typing import cast

import numpy as np
from PIL import Image

from bridge.backends.base import DraftLayer, JobContext, Preview, Progress
from bridge.connection_file import data_dir
from bridge.errors import Kind, UnflattenError
from bridge.picture import Layer, Picture
from bridge.settings import Settings
from tests.unit.trial.backends import MEMORY_WANTED, TrialOptions, note


class Bands:
    """Cuts the picture into as many horizontal bands as layers are wanted, over the whole picture as background.

    The prompt is a verb and its argument: `slow 3` works three seconds, `deaf 3` without looking up,
    `die 9` ends its process by that signal (`die 9 wide`: for a picture that is wider than high), `memory`, `bug`,
    `print`, `refuse KIND` raises an error of that kind, `nothing`, `note`: its settings and options go into a file, as
    which process began does; `preview` shows two small pictures early.
    """

    def __init__(self, options: TrialOptions) -> None:
        self._options = options

    def draft(
        self, picture: Picture, settings: Settings, job: JobContext
    ) -> Generator[Progress | Preview | DraftLayer]:
        verb, _, argument = settings.prompt.partition(" ")
        note("at work", str(os.getpid()))
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
                number, _, which = argument.partition(" ")
                if not which or picture.width > picture.height:
                    os.kill(os.getpid(), int(number))
                    signal.pause()
            case "memory":
                raise MemoryError
            case "bug":
                raise ValueError(settings.prompt)
            case "refuse":
                hint, kind = "Try another.", cast(Kind, argument)
                raise UnflattenError("The splitter refuses this picture.", hint, code="refused", kind=kind)
            case "print":
                print(settings.prompt, flush=True)
                print(settings.prompt, file=sys.stderr, flush=True)
                library = logging.getLogger("some.library")
                library.addHandler(logging.StreamHandler(sys.__stderr__))
                library.error("read %s", settings.prompt)
            case "nothing":
                return
            case "note":
                note("settings", settings.model_dump_json())
                note("options", self._options.model_dump_json())
            case "preview":
                yield Preview((picture.view[:3, :5], picture.view[3:6, :5]))
            case _:
                pass
        yield Progress("Cutting", 2, 2)
        for layer in bands(picture.view, settings):
            yield DraftLayer(layer, picture.width, picture.height)


class WatchfulBands(Bands):
    """The same, in memory that another program may want."""

    def memory_wanted(self) -> bool:
        return (data_dir() / MEMORY_WANTED).exists()


def bands(view: np.ndarray, settings: Settings) -> Iterator[Layer]:
    """The background and its bands, back to front."""
    count = 4 if settings.num_layers == "auto" else settings.num_layers - 1
    back = np.empty_like(view)
    back[...] = view[:1, :1]
    back[..., 3] = 255
    yield Layer("Background", back, kind="background")
    edges = np.linspace(0, view.shape[0], count + 1).astype(int)
    for number, (top, bottom) in enumerate(pairwise(edges), 1):
        if bottom > top:  # `top` stays a number of numpy's, as real splitters hand them over
            yield Layer(f"Band {number}", view[top:bottom].copy(), top=top)


def split(packed: bytes, settings: Settings) -> list[bytes]:
    view = np.asarray(Image.open(io.BytesIO(packed)).convert("RGBA"))
    images: list[bytes] = []
    for layer in bands(view, settings):
        canvas = np.zeros_like(view)
        canvas[layer.top : layer.top + layer.pixels.shape[0]] = layer.pixels
        images.append(as_png(canvas))
    return images


def as_png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    return out.getvalue()


def unpacked(images: list[bytes]) -> Iterator[DraftLayer]:
    """Image files as layers, back to front."""
    for number, image in enumerate(images):
        pixels = np.asarray(Image.open(io.BytesIO(image)).convert("RGBA"))
        kind = "object" if number else "background"
        yield DraftLayer(Layer(f"Far {number}", pixels, kind=kind), pixels.shape[1], pixels.shape[0])
