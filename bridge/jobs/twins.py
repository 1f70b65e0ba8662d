"""The same picture asked for again: what has been handed to a remote service once serves, and is not paid for twice."""

import hashlib
import json
import os
import shutil

from bridge.jobs.journal import Entry, Journal, State
from bridge.jobs.spool import Spool, full_disk_said
from bridge.preferences import DEFAULT_BACKEND


class Fingerprint:
    """Of a job's picture and of all that is asked of it, made while the picture arrives.

    The default backend hands nothing to anyone: its pictures need none.
    """

    def __init__(self, entry: Entry) -> None:
        self._hash = None if entry.backend in (None, DEFAULT_BACKEND) else hashlib.sha256()
        asked = [entry.backend, entry.settings, entry.width, entry.height]
        asked += [entry.model, entry.depth, entry.channels, entry.view, entry.profile_bytes]
        self.add(json.dumps(asked, sort_keys=True).encode())

    def add(self, piece: bytes | memoryview) -> None:
        if self._hash is not None:
            self._hash.update(piece)

    def text(self) -> str:
        """Equal for equal jobs; empty where none is needed."""
        return self._hash.hexdigest() if self._hash is not None else ""


def find(entry: Entry, journal: Journal, *, met: str | None) -> Entry | None:
    """The latest job that was asked for the same, has ended, and was handed to a remote service; None where none is
    of use. met: one that was still under way when this one came, and serves it also where its own client has had it.
    """
    for other in journal.same(entry.digest):
        if other.id != entry.id and other.state.ended and other.handle is not None:
            if other.state is not State.DONE:
                return other
            return None if other.delivered and other.id != met else other
    return None


def take_over_result(entry: Entry, other: Entry, spool: Spool) -> bool:
    """Give `entry` the layers of `other`; False where they are no longer on the disk. Raises OutOfSpace."""
    if other.state is not State.DONE or other.layers is None:
        return False
    if not all(spool.has_layer(other.id, index, other.layer_nbytes(each)) for index, each in enumerate(other.layers)):
        return False
    with full_disk_said():
        for index in range(len(other.layers)):
            whole = spool.layer(entry.id, index)
            part = whole.with_suffix(".part")
            part.unlink(missing_ok=True)
            try:
                os.link(spool.layer(other.id, index), part)
            except OSError:  # a disk that knows no links
                shutil.copyfile(spool.layer(other.id, index), part)
            os.replace(part, whole)
    entry.layers, entry.report, entry.handle = other.layers, other.report, other.handle
    return True


def take_over_handle(entry: Entry, other: Entry, journal: Journal) -> None:
    """Go on with what `other` has at its remote service: two jobs must not both be known by it."""
    entry.handle, other.handle = other.handle, None
    journal.write(entry, durable=True)
    journal.write(other)
