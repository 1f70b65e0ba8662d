"""Requests of fal's clients become jobs here; equal ones meet, and all are found again by their id."""

import asyncio
import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bridge import clock
from bridge.backends import registry
from bridge.backends.choice import choose
from bridge.errors import UnflattenError
from bridge.jobs.engine import Engine
from bridge.jobs.errors import Abandoned
from bridge.jobs.job import (
    Awaited,
    Done,
    Failed,
    Job,
    JobEvent,
    JobRequest,
    LayerImages,
    Progressed,
    RawPicture,
    Stacked,
)
from bridge.server.fal.body import Room
from bridge.server.fal.endings import CLIENT, Endings
from bridge.server.fal.errors import FalError, unprocessable
from bridge.server.fal.files import Files
from bridge.server.fal.pending import FalRequest, PendingRequest
from bridge.server.fal.pictures import Pictures
from bridge.server.fal.records import EndedKind, Records, RequestRecord
from bridge.server.fal.submission import Submission, fingerprint, new_record, settings_of
from bridge.server.fal_api import FalOptions

Kind = Literal[EndedKind, "queued", "in_progress"]

log = logging.getLogger("unflatten")


class NotBegun(UnflattenError):
    """The time to start, which the client set, ran out."""

    code = "request_timeout"

    def __init__(self) -> None:
        super().__init__("The request had not begun within the time that its client set.")


@dataclass(frozen=True)
class Listing:
    """Which requests are to be listed: of those that came or ended between two moments, `limit` from `offset` on."""

    since: float
    until: float
    request_id: str | None
    kind: Kind | None
    by_duration: bool
    offset: int
    limit: int


class Requests:
    """The API's requests. grace: seconds that a request whose client is gone goes on for."""

    def __init__(
        self, engine: Engine, records: Records, files: Files, pictures: Pictures, options: FalOptions, *, grace: float
    ) -> None:
        self._options = options
        self._engine = engine
        self._records = records
        self._files = files
        self._pictures = pictures
        self._endings = Endings(engine, records, files)
        self._grace = grace
        self._pending: dict[str, PendingRequest] = {}
        self._taking = asyncio.Lock()
        self.room = Room()
        """For the bodies that requests come in."""
        self._prompts: dict[str, str] = {}
        """Of requests that may not be written down: known until the API closes."""

    # What clients ask

    async def take(self, submission: Submission, *, attended: bool) -> FalRequest:
        """Take a request in; it, or an equal one that is not over. It is written down on return.

        attended: whether the client holds a connection until the result; a request of the queue goes on without. What
        is wrong with the input ends an unattended request, as it does at fal; an attended one raises FalError.
        """
        try:
            return await self._take(submission, attended=attended)
        finally:
            submission.picture.clear()  # whoever waits for the result need not hold the picture, too

    async def _take(self, submission: Submission, *, attended: bool) -> FalRequest:
        try:
            if submission.input is None:
                raise unprocessable(submission.wrong)
            picture = await self._pictures.look(submission.input.image_url, submission.picture)
        except (FalError, UnflattenError) as error:
            if attended:
                raise
            return self._endings.record_failure(
                new_record(submission), error, self._options.backend or registry.default()
            )
        options = self._options
        same_as = fingerprint(submission, submission.input, picture.digest, [options.backend, options.options])
        async with self._taking:
            equal = self._engine.equal(same_as)
            met = None if equal is None else self._pending.get(equal.id)
            if met is not None:
                self._join(met, submission, attended=attended)
                return self._known(met)
            record = new_record(submission)
            record.url = picture.url
            self._engine.check_open(record.id)
            request = JobRequest(
                record.id,
                CLIENT,
                Awaited(),
                LayerImages(submission.input.output_format, check=submission.input.enable_safety_checker),
                choose(options.backend, options.options).check().name,
                settings_of(submission.input),
                options.options,
                batch=submission.batch,
                unattended=not attended,
                rerun=submission.retry,
                expires=None if record.keep_for is None else self._files.expiry(record.keep_for),
                same_as=same_as,
            )
            await self._pictures.place(record.id, picture)
            try:
                self._records.save(record)
                self._engine.expect(request, self._hear, self._bring)
            except BaseException:
                self._engine.files.erase(record.id)
                self._records.delete(record.id)
                raise
            if not record.keep_io:
                self._prompts[record.id] = request.settings.prompt
            job = self._engine.look(record.id)
            assert job is not None
            return self._known(self._follow(job, record))

    def find(self, request_id: str) -> FalRequest | None:
        """The request of that id; None where there is none, or the job is not one of the API's."""
        try:
            job_id = uuid.UUID(request_id).hex
        except ValueError:
            return None
        pending = self._pending.get(job_id)
        if pending is not None:
            return self._known(pending)
        record = self._records.get(job_id)
        return None if record is None else self._ended(record)

    def position(self, request: FalRequest) -> int:
        """How many jobs go first."""
        return self._engine.position(request.job.id)

    def cancel(self, request: FalRequest) -> bool:
        """Cancel a request; False where it has ended."""
        if request.pending is None or request.job.state.ended:
            return False
        self._engine.cancel(request.job.id)
        return True

    def leave(self, pending: PendingRequest) -> None:
        """A client that held a connection is gone. With nobody else there, the request goes on for a while."""
        unneeded = not pending.waiting and not pending.over.is_set() and not pending.job.request.unattended
        if unneeded and pending.leaving is None:
            pending.leaving = asyncio.get_running_loop().call_later(self._grace, self._give_up, pending, Abandoned())

    def listed(self, wanted: Listing) -> list[FalRequest]:
        """Requests, those that are not over first."""
        live = [self._known(each) for each in reversed(self._pending.values()) if _is_wanted(each, wanted)]
        shown = live[wanted.offset : wanted.offset + wanted.limit]
        if wanted.kind not in ("queued", "in_progress"):
            records = self._records.ended(
                wanted.since,
                wanted.until,
                request_id=wanted.request_id,
                kind=wanted.kind,
                by_duration=wanted.by_duration,
                offset=max(0, wanted.offset - len(live)),
                limit=wanted.limit - len(shown),
            )
            shown += [each for each in map(self._ended, records) if each is not None]
        return shown

    @property
    def busy(self) -> bool:
        return bool(self._pending)

    # Life

    def resume(self) -> None:
        """After opening: go on with what was not over when the API was last open."""
        self._records.drop_forgotten()
        awaited = {job.id: job for job in self._engine.awaited}
        for record in self._records.pending():
            try:
                self._resume(record, awaited)
            except Exception as error:  # one that cannot be gone on with must not keep the others from it
                log.error("request %s cannot be taken up", record.id, exc_info=error)

    def _resume(self, record: RequestRecord, awaited: Mapping[str, Job]) -> None:
        job = awaited.get(record.id) or self._engine.look(record.id)
        if job is None:
            return
        if job.state.ended:
            self._endings.write(job, record)
            return
        pending = self._follow(job, record)
        pending.say("Taken up again after a restart")
        if job.id in awaited:
            self._engine.take_up(job, self._hear, self._bring)
        else:
            self._engine.attach(job.id, set(), self._hear)
        self.leave(pending)

    def keep_house(self) -> None:
        """Forget requests whose jobs were erased, and write down what a full disk kept from being written."""
        for forgotten in self._records.drop_forgotten():
            self._prompts.pop(forgotten, None)
        for record in self._records.pending():
            if record.id not in self._pending and (job := self._engine.look(record.id)) is not None and job.state.ended:
                self._endings.write(job, record)

    def close(self) -> None:
        """Stop all clocks."""
        for pending in self._pending.values():
            pending.stop_clocks()

    # Taking in

    def _join(self, met: PendingRequest, submission: Submission, *, attended: bool) -> None:
        """An equal request has come: what is there already goes on for the more patient of the two."""
        if submission.start_within is None and met.record.start_by is not None:
            met.be_patient()
            self._records.save(met.record)
        if not attended:
            self._engine.set_attended(met.job.id, attended=False)
            met.stay()

    def _follow(self, job: Job, record: RequestRecord) -> PendingRequest:
        pending = self._pending[job.id] = PendingRequest(job, record)
        if record.start_by is not None:
            left = max(0, record.start_by - clock.now())
            pending.patience = asyncio.get_running_loop().call_later(left, self._give_up, pending, NotBegun())
        return pending

    async def _bring(self, job: Job) -> RawPicture:
        return await self._pictures.bring(job.id, self._pending[job.id].record.url)

    def _give_up(self, pending: PendingRequest, why: Abandoned | NotBegun) -> None:
        # what a service has may be paid for already: it goes on to its end
        goes_on = pending.job.handle is not None if isinstance(why, Abandoned) else pending.begun
        if not goes_on:
            self._engine.cancel(pending.job.id, why)

    # What becomes of them

    def _hear(self, job_id: str, event: JobEvent) -> None:
        pending = self._pending[job_id]
        match event:
            case Progressed():
                pending.hear(event)
            case Stacked(_, _, layers):
                pending.say(f"{len(layers)} layer{'s' * (len(layers) != 1)} found")
            case Done() | Failed():
                if pending.job.state.ended:  # else a service goes on with it, for the next bridge
                    self._endings.write(pending.job, pending.record)
                del self._pending[job_id]
                pending.end()
            case _:
                pass

    # What is known of them

    def _known(self, pending: PendingRequest) -> FalRequest:
        return FalRequest(pending.job, pending.record, self._prompts.get(pending.job.id), pending)

    def _ended(self, record: RequestRecord) -> FalRequest | None:
        job = self._engine.look(record.id)
        return None if job is None else FalRequest(job, record, self._prompts.get(job.id))


def _is_wanted(pending: PendingRequest, wanted: Listing) -> bool:
    kind = "in_progress" if pending.begun else "queued"
    return (
        wanted.since <= pending.record.sent < wanted.until
        and wanted.request_id in (None, pending.job.id)
        and wanted.kind in (None, kind)
    )
