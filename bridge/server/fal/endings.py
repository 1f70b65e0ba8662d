"""How requests of fal's clients end: what is written down of them from then on, and no more than may be."""

import logging
from dataclasses import replace

from bridge import clock
from bridge.errors import BadSettings, UnflattenError
from bridge.jobs.engine import Engine
from bridge.jobs.job import Awaited, Job, JobRequest, LayerImages, State
from bridge.server.fal.errors import FalError
from bridge.server.fal.files import Files, new_name
from bridge.server.fal.pending import FalRequest, failure_of
from bridge.server.fal.records import Records, RequestRecord

CLIENT = "fal-api"
"""All of the API's clients take turns with Krita's as one."""

log = logging.getLogger("unflatten")


class Endings:
    """Writes them down."""

    def __init__(self, engine: Engine, records: Records, files: Files) -> None:
        self._engine = engine
        self._records = records
        self._files = files

    def write(self, job: Job, record: RequestRecord) -> None:
        """The request is over: write down what is told of it from now on, and no more than may be."""
        record.over, record.url = job.ended or clock.now(), None
        record.images = [new_name() for _ in job.images or ()]
        failure = failure_of(job, record)
        record.status = 200 if failure is None else failure.status
        try:
            self._records.save(record)
            if record.keep_for is not None or not record.keep_io:
                if record.keep_for is not None:
                    job.request = replace(job.request, expires=self._files.expiry(record.keep_for))
                if not record.keep_io:
                    blank = job.request.settings.model_copy(update={"prompt": "", "negative_prompt": ""})
                    job.request = replace(job.request, settings=blank)
                self._engine.store.save(job)
        except UnflattenError as problem:
            log.error("job %s: its request's end could not be written down (%s)", job.id, problem.code)

    def record_failure(self, record: RequestRecord, error: FalError | UnflattenError, backend: str) -> FalRequest:
        """Write down a request whose input is wrong: its client learns so where fal would tell it.

        backend: that would have split its picture. Raises UnflattenError where no request is taken.
        """
        self._engine.check_open(record.id)
        if isinstance(error, FalError):
            hidden = set[str]() if record.keep_io else {"input"}
            record.wrong = [{key: each[key] for key in each if key not in hidden} for each in error.body["detail"]]
        expires = None if record.keep_for is None else self._files.expiry(record.keep_for)
        request = JobRequest(record.id, CLIENT, Awaited(), LayerImages("png"), backend, expires=expires)
        told = error if isinstance(error, UnflattenError) else BadSettings("The input is wrong.")
        job = Job(request, state=State.FAILED, created=record.sent, ended=record.sent, error=told)
        self._engine.store.add(job)
        self.write(job, record)
        return FalRequest(job, record)
