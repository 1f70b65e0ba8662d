"""The trial backend in moods that the command line has no words for: it takes no prompt."""

import os
from collections.abc import Iterator
from pathlib import Path

from bridge.backends.base import Event, JobContext
from bridge.picture import Picture
from bridge.settings import Settings
from tests.unit.trial.backends import Trial


class Slow(Trial):
    """Works for half a minute and looks up all the time; a file in the home says by its name which process began."""

    name = "slow"
    mood = "slow 30"

    def draft(self, picture: Picture, settings: Settings, job: JobContext) -> Iterator[Event]:
        (Path.home() / f"working-{os.getpid()}").touch()
        yield from super().draft(picture, settings.model_copy(update={"prompt": self.mood}), job)


class Dying(Slow):
    """Is killed in the middle, where the picture is wider than high."""

    name = "dying"

    def draft(self, picture: Picture, settings: Settings, job: JobContext) -> Iterator[Event]:
        mood = "die 9" if picture.width > picture.height else ""
        yield from Trial.draft(self, picture, settings.model_copy(update={"prompt": mood}), job)
