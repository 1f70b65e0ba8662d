"""A job's folder: the picture as it arrived, a draft on its way, and the layers as finished; each file is whole or not
there at all."""

import logging
import os
import re
import shutil
import weakref
from pathlib import Path
from typing import BinaryIO

from bridge.files.disk import check_room, full_disk_said, private, write_all
from bridge.own_files import claim

JOB_ID = re.compile(r"[0-9a-f]{32}")
PICTURE = "picture.raw"
SOURCE = "source.bin"
"""The image file that a job's picture is made of, where it came as one."""
PACKED = "packed.bin"
"""What is sent of the picture."""
LAYERS_SHARE = 3
"""Layers are cropped: together they rarely pass three times the picture's bytes."""

log = logging.getLogger("unflatten")


class JobFiles:
    """All jobs' folders under `root`, each named by its job's id."""

    def __init__(self, root: Path) -> None:
        self.root = root
        claim(root)
        self._arriving: weakref.WeakSet[Incoming] = weakref.WeakSet()

    def folder(self, job: str) -> Path:
        """The job's folder. Ids come from outside, so only what cannot lead elsewhere is taken."""
        if not JOB_ID.fullmatch(job):
            raise ValueError("not a job id")
        return self.root / job

    def receive(self, job: str, nbytes: int) -> "Incoming":
        """Open the job's folder for its picture of `nbytes`.

        Raises OutOfSpace before any byte is taken where it and its layers would not fit, FileExistsError where the job
        has a folder already.
        """
        # what other uploads were promised is not on the disk yet
        check_room(self.root, nbytes * (1 + LAYERS_SHARE), promised=sum(each.missing for each in self._arriving))
        folder = self.folder(job)
        with full_disk_said():
            folder.mkdir(mode=0o700)
            incoming = Incoming(folder, nbytes)
        self._arriving.add(incoming)
        return incoming

    def has_picture(self, job: str, nbytes: int) -> bool:
        """Whether the job's picture lies here whole: a power cut can leave even a renamed file short."""
        return _size(self.folder(job) / PICTURE) == nbytes

    def layer(self, job: str, index: int) -> Path:
        return layer_path(self.folder(job), index)

    def has_layer(self, job: str, index: int, nbytes: int) -> bool:
        return _size(self.layer(job, index)) == nbytes

    def erase_picture(self, job: str) -> None:
        """Erase what the job was made from; its layers stay."""
        try:
            for name in (PICTURE, SOURCE, PACKED):
                (self.folder(job) / name).unlink(missing_ok=True)
        except OSError as error:  # Windows, while a worker still maps it: goes with the folder later
            log.warning("job %s: its picture could not be erased yet (%s)", job, error.strerror)

    def erase(self, job: str) -> None:
        """Erase the job's folder and all that is in it."""
        folder = self.folder(job)
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            log.warning("job %s: its folder could not be erased yet", job)

    def used(self, job: str) -> int:
        """Bytes that the job's files take."""
        try:
            return sum(entry.stat().st_size for entry in os.scandir(self.folder(job)))
        except OSError:
            return 0

    def strays(self, known: set[str]) -> list[str]:
        """Folders of jobs that the store does not know: uploads that a crash cut off."""
        return [
            entry.name for entry in os.scandir(self.root) if JOB_ID.fullmatch(entry.name) and entry.name not in known
        ]


class Incoming:
    """A picture on its way in: under a temporary name until every byte is there. missing: bytes still to come."""

    def __init__(self, folder: Path, nbytes: int) -> None:
        self._folder = folder
        self._part = folder / f"{PICTURE}.part"
        self._file: BinaryIO = open(self._part, "xb", buffering=0, opener=private)  # noqa: SIM115
        self.missing = nbytes

    def write(self, piece: bytes | memoryview) -> None:
        """Append `piece`. Raises OutOfSpace."""
        with full_disk_said():
            write_all(self._file, piece)
        self.missing -= len(piece)

    def finish(self) -> None:
        """Every byte is there: give the file its name."""
        with full_disk_said():
            self._file.close()
            os.replace(self._part, self._folder / PICTURE)

    def close(self) -> None:
        self._file.close()
        self.missing = 0


def layer_path(folder: Path, index: int) -> Path:
    return folder / f"layer-{index:02}.raw"


def image_path(folder: Path, index: int, kind: str) -> Path:
    return folder / f"image-{index:02}.{kind}"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
