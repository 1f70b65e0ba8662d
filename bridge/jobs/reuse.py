"""The same picture asked for again: what has been handed to a service once serves, and is not paid for twice."""

import hashlib
import json
import os
import shutil

from bridge.files.disk import full_disk_said
from bridge.jobs.files import JobFiles
from bridge.jobs.job import Job, JobRequest, RawLayers, State
from bridge.jobs.plain import output_to_plain, source_to_plain
from bridge.jobs.store import Store


class Fingerprint:
    """Of a job's picture and of all that is asked of it, made while the picture arrives."""

    def __init__(self, request: JobRequest) -> None:
        asked = [request.backend, request.options, request.settings.model_dump()]
        told = json.dumps([*asked, source_to_plain(request.source), output_to_plain(request.output)], sort_keys=True)
        self._hash = hashlib.sha256(told.encode())

    def add(self, piece: bytes | memoryview) -> None:
        self._hash.update(piece)

    def text(self) -> str:
        """Equal for equal jobs."""
        return self._hash.hexdigest()


def find(job: Job, store: Store, *, served_by: str | None) -> Job | None:
    """The latest job that was asked for the same, has ended, and was handed to a service; None where none is of use.

    served_by: one that was still under way when this one came; it serves also where its own client has had its result.
    """
    for other in store.equals(job.request.same_as):
        if other.id != job.id and other.state.ended and other.handle is not None:
            if other.state is not State.DONE:
                return other
            return None if other.delivered and other.id != served_by else other
    return None


def take_over_result(job: Job, other: Job, files: JobFiles) -> bool:
    """Give `job` the layers of `other`; False where they are no longer on the disk. Raises OutOfSpace."""
    if other.state is not State.DONE or other.layers is None or not isinstance(other.request.output, RawLayers):
        return False
    if not all(files.has_layer(other.id, index, other.layer_nbytes(each)) for index, each in enumerate(other.layers)):
        return False
    with full_disk_said():
        for index in range(len(other.layers)):
            whole = files.layer(job.id, index)
            part = whole.with_suffix(".part")
            part.unlink(missing_ok=True)
            try:
                os.link(files.layer(other.id, index), part)
            except OSError:  # a disk that knows no links
                shutil.copyfile(files.layer(other.id, index), part)
            os.replace(part, whole)
    job.layers, job.report, job.handle = other.layers, other.report, other.handle
    return True


def take_over_handle(job: Job, other: Job, store: Store) -> None:
    """Go on with what `other` has at its service: two jobs must not both be known by it."""
    job.handle, other.handle = other.handle, None
    store.save(job, durable=True)
    store.save(other)
