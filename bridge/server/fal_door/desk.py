"""Requests become jobs here, equal ones meet, and results are made ready to be fetched."""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Iterator
from typing import Any

from bridge.errors import BadSettings, OutOfSpace, UnflattenError
from bridge.jobs.events import Done, Event, Failed, LayerReady, Listener, Progressed, Stacked
from bridge.jobs.journal import Entry, Journal, State
from bridge.jobs.reasons import Abandoned
from bridge.jobs.runner import Runner
from bridge.jobs.spool import image_path
from bridge.server.fal_door.asked import Asked, digest_of, settings_of, start_by
from bridge.server.fal_door.errors import FalError, unprocessable
from bridge.server.fal_door.files import Files, Stored
from bridge.server.fal_door.hosts import ENDPOINT
from bridge.server.fal_door.images import file_name, save_images
from bridge.server.fal_door.intake import Intake
from bridge.server.fal_door.ticket import Ticket

CLIENT = "fal-door"
"""All of the door's clients take turns with Krita's as one."""
LONGEST_LISTED = 2048
"""Characters of an address that the history keeps."""

log = logging.getLogger("unflatten")


class NotBegun(UnflattenError):
    """The time to start, which the client set, ran out."""

    code = "request_timeout"

    def __init__(self) -> None:
        super().__init__("The request had not begun within the time that its client set.")


class Desk:
    """The door's requests. backend: who splits; grace: seconds that a request whose client is gone goes on for."""

    def __init__(
        self, runner: Runner, journal: Journal, files: Files, intake: Intake, *, backend: str | None, grace: float
    ) -> None:
        self.backend = backend
        self._runner = runner
        self._journal = journal
        self._files = files
        self._intake = intake
        self._grace = grace
        self._tickets: dict[str, Ticket] = {}
        self._taking = asyncio.Lock()
        self._finishing: set[asyncio.Task[None]] = set()
        self._prompts: dict[str, str] = {}
        """Of requests that may not be written down: known until the door closes."""

    # What clients ask

    async def take(self, asked: Asked, *, attended: bool) -> Entry:
        """Take a request in; its entry, or that of an equal one which still runs. It is written down on return.

        attended: whether the client holds a connection until the result; a request of the queue goes on without. What
        is wrong with the input ends an unattended request, as it does at fal; an attended one raises FalError.
        """
        try:
            if asked.input is None:
                raise unprocessable(asked.wrong)
            given = await self._intake.look(asked.input.image_url)
        except (FalError, UnflattenError) as error:
            if attended:
                raise
            return self._record_failure(asked, error)
        digest = digest_of(asked, asked.input, given.digest, self.backend)
        async with self._taking:
            met = self._equal(digest)
            if met is not None:
                self._join(met, asked, attended=attended)
                return met.entry
            entry = self._entry(asked, attended=attended)
            entry.settings = settings_of(asked.input)
            # the door's own: an entry's `digest` would meet requests that have ended, too
            self._extra(entry)["digest"] = digest
            if given.url is not None:
                self._extra(entry)["fetch"] = given.url
            self._runner.check_open(entry.id)
            self._runner.choose(entry)
            await self._intake.place(entry.id, given)
            ticket = Ticket(entry)
            try:
                self._runner.expect(entry, CLIENT, self._listener(ticket), self._intake.bring)
            except BaseException:
                self._runner.spool.erase(entry.id)
                raise
            self._follow(ticket)
            if not asked.keep_io:
                self._prompts[entry.id] = asked.input.prompt or ""
            return entry

    def find(self, request_id: str) -> Entry | None:
        """The request of that id; None where there is none, or it is another door's."""
        try:
            job = uuid.UUID(request_id).hex
        except ValueError:
            return None
        ticket = self._tickets.get(job)
        entry = ticket.entry if ticket is not None else self._runner.look(job)
        return entry if entry is not None and is_ours(entry) else None

    def ticket(self, entry: Entry) -> Ticket | None:
        """What is known of a request beside its entry, until it has ended."""
        return self._tickets.get(entry.id)

    def position(self, entry: Entry) -> int:
        return self._runner.position(entry.id)

    def prompt(self, entry: Entry) -> str:
        return self._prompts.get(entry.id) or str(entry.settings.get("prompt", ""))

    def cancel(self, entry: Entry) -> bool:
        """Cancel a request; False where it has ended."""
        ticket = self._tickets.get(entry.id)
        if ticket is None or entry.state.ended:
            return False
        self._cancel(ticket)
        return True

    def leave(self, ticket: Ticket) -> None:
        """A client that held a connection is gone. With nobody else there, the request goes on for a while."""
        if not ticket.waiting and not ticket.over.is_set() and not ticket.entry.unattended and ticket.leaving is None:
            ticket.leaving = asyncio.get_running_loop().call_later(self._grace, self._abandon, ticket)

    def all(self) -> Iterator[Entry]:
        """Every request that is known, whatever its state."""
        live = {entry.id: entry for entry in self._journal.unfinished()}
        live.update((job, ticket.entry) for job, ticket in self._tickets.items())
        yield from filter(is_ours, live.values())
        yield from (entry for entry in self._journal.ended() if is_ours(entry) and entry.id not in live)

    @property
    def busy(self) -> bool:
        return bool(self._tickets)

    # Life

    def resume(self) -> None:
        """After opening: follow what still runs, take up what waits for its picture, and make results ready again."""
        for entry in [each for each in self._runner.unbrought if is_ours(each)]:
            ticket = Ticket(entry)
            self._runner.take_up(entry, CLIENT, self._listener(ticket), self._intake.bring)
            self._follow(ticket)
            ticket.say("Taken up again after a restart")
        for written in self._journal.unfinished():
            entry = self._runner.look(written.id)
            if entry is not None and is_ours(entry) and entry.id not in self._tickets:
                ticket = Ticket(entry)
                self._follow(ticket)
                ticket.say("Taken up again after a restart")
                self._runner.attach(entry.id, set(), self._listener(ticket))
                self.leave(ticket)
        for entry in self._journal.ended():
            if not is_ours(entry) or entry.state is not State.DONE:
                continue
            if "images" in self._extra(entry):
                self._show_files(entry)
            elif "unfinished" not in self._extra(entry):
                ticket = Ticket(entry)
                self._follow(ticket)
                self._finish_later(ticket)

    def erase_expired(self) -> None:
        """Erase requests whose files their client wanted no longer."""
        now = time.time()
        for entry in self._journal.ended():
            if is_ours(entry) and (self._extra(entry).get("expires") or now) < now:
                self._forget(entry)

    async def close(self) -> None:
        """Stop all clocks. What is being made ready is made ready when the door opens again."""
        for ticket in self._tickets.values():
            ticket.stop_clocks()
        for task in self._finishing:
            task.cancel()
        await asyncio.gather(*self._finishing, return_exceptions=True)

    # Taking in

    def _entry(self, asked: Asked, *, attended: bool) -> Entry:
        extra: dict[str, Any] = {
            "door": CLIENT,
            "unattended": not attended,
            "keep_io": asked.keep_io,
            "keep_for": asked.keep_for,
            "start_by": start_by(asked),
            "retry": asked.retry,
            "endpoint": ENDPOINT,
        }
        if asked.input is not None:
            extra.update(sync=asked.input.sync_mode, seed=asked.input.seed)
            if asked.keep_io:
                extra["input"] = _listed(asked.input.model_dump(exclude_unset=True))
        job = uuid.uuid4().hex
        return Entry(job, 0, 0, {}, backend=self.backend, batch=asked.batch, created=time.time(), extra=extra)

    def _record_failure(self, asked: Asked, error: FalError | UnflattenError) -> Entry:
        """Write down a request whose input is wrong: its client learns so where fal would tell it."""
        entry = self._entry(asked, attended=False)
        entry.state, entry.ended, entry.error = State.FAILED, entry.created, BadSettings("The input is wrong.")
        if isinstance(error, UnflattenError):
            entry.error = error
        else:
            wrong = error.body["detail"]
            hidden = set[str]() if asked.keep_io else {"input"}
            self._extra(entry)["wrong"] = [{key: each[key] for key in each if key not in hidden} for each in wrong]
        self._runner.check_open(entry.id)
        self._journal.add(entry)
        return entry

    def _equal(self, digest: str) -> Ticket | None:
        return next((each for each in self._tickets.values() if each.extra.get("digest") == digest), None)

    def _join(self, met: Ticket, asked: Asked, *, attended: bool) -> None:
        """An equal request has come: what is there already goes on for the more patient of the two."""
        if asked.start_within is None and met.extra.get("start_by") is not None:
            met.extra["start_by"] = None
            if met.patience is not None:
                met.patience.cancel()
                met.patience = None
        if not attended:
            met.extra["unattended"] = True
            if met.leaving is not None:
                met.leaving.cancel()
                met.leaving = None
        self._write(met.entry)

    def _follow(self, ticket: Ticket) -> None:
        self._tickets[ticket.entry.id] = ticket
        until = ticket.extra.get("start_by")
        if until is not None and not ticket.entry.state.ended:
            loop = asyncio.get_running_loop()
            ticket.patience = loop.call_later(max(0, until - time.time()), self._lose_patience, ticket)

    def _abandon(self, ticket: Ticket) -> None:
        if ticket.entry.handle is None:  # what a remote service has may be paid for already: it goes on to its end
            self._cancel(ticket, Abandoned())

    def _lose_patience(self, ticket: Ticket) -> None:
        if not ticket.begun:
            self._cancel(ticket, NotBegun())

    def _cancel(self, ticket: Ticket, why: UnflattenError | None = None) -> None:
        ticket.extra.pop("digest", None)  # an equal request that comes before this one has ended is a new one
        self._runner.cancel(ticket.entry.id, why)

    # What the job tells

    def _listener(self, ticket: Ticket) -> Listener:
        def hear(_: str, event: Event) -> None:
            match event:
                case Progressed():
                    ticket.hear(event)
                case Stacked(_, _, layers):
                    ticket.say(f"{len(layers)} layers found")
                case LayerReady():
                    pass
                case Done():
                    self._finish_later(ticket)
                case Failed():
                    self._close(ticket)

        return hear

    def _finish_later(self, ticket: Ticket) -> None:
        task = asyncio.create_task(self._finish(ticket))
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)

    async def _finish(self, ticket: Ticket) -> None:
        """Make image files of the layers; the request is over with the last."""
        ticket.say("Saving the layers")
        try:
            ticket.extra["images"] = await save_images(ticket.entry, self._runner.spool, self._runner.workshop)
        except UnflattenError as error:
            ticket.extra["unfinished"] = [error.code, error.message, error.hint, error.retryable]
        except Exception:
            log.exception("job %s: its layers could not be saved", ticket.entry.id)
            ticket.extra["unfinished"] = ["internal", "The layers could not be saved.", "Try again.", False]
        else:
            self._show_files(ticket.entry)
        self._close(ticket)

    def _show_files(self, entry: Entry) -> None:
        expires = self._extra(entry).get("expires") or self._expiry(entry)
        for index, image in enumerate(self._extra(entry)["images"]):
            path = image_path(self._runner.spool.folder(entry.id), index, image["kind"])
            stored = Stored(path, file_name(index, image["kind"]), f"image/{image['kind']}", image["nbytes"], expires)
            self._files.add_result(image["name"], stored)

    def _close(self, ticket: Ticket) -> None:
        """The request is over: write down what is told of it from now on, and no more than may be."""
        entry, extra = ticket.entry, ticket.extra
        extra["logs"] = ticket.logs
        extra["over"] = time.time()
        if extra.get("keep_for") is not None:
            extra["expires"] = self._expiry(entry)
        for name in ("fetch", "digest"):  # of use until now alone
            extra.pop(name, None)
        if not extra.get("keep_io", True):
            entry.settings = {**entry.settings, "prompt": "", "negative_prompt": ""}
        self._write(entry)
        self._tickets.pop(entry.id, None)
        ticket.end()

    def _expiry(self, entry: Entry) -> float:
        return self._files.expiry(self._extra(entry).get("keep_for"))

    def _forget(self, entry: Entry) -> None:
        self._files.forget_results(self._runner.spool.folder(entry.id))
        self._prompts.pop(entry.id, None)
        self._runner.spool.erase(entry.id)
        with contextlib.suppress(OutOfSpace):
            self._journal.forget(entry.id)

    def _write(self, entry: Entry) -> None:
        try:
            self._journal.write(entry)
        except OutOfSpace:
            log.error("job %s: what its door keeps could not be written down, the disk is full", entry.id)

    @staticmethod
    def _extra(entry: Entry) -> dict[str, Any]:
        assert entry.extra is not None
        return entry.extra


def is_ours(entry: Entry) -> bool:
    """Whether a job came through this door."""
    return (entry.extra or {}).get("door") == CLIENT


def _listed(given: dict[str, Any]) -> dict[str, Any]:
    """The input as the history shows it: without a whole picture in it."""
    url = str(given.get("image_url", ""))
    return given if len(url) <= LONGEST_LISTED else {**given, "image_url": url[:64] + "…"}
