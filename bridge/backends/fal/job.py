"""One picture's way through fal: handed over once, followed, fetched; taken up where it was after a crash."""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from bridge.backends.base import DraftLayer, JobContext, Paced, Progress
from bridge.backends.fal import listing, logs, outputs, queue, sending, storage, troubles
from bridge.backends.fal.account import Account
from bridge.backends.fal.handle import Intent, Ticket, from_text, ids_in, to_text
from bridge.backends.fal.talk import Talk
from bridge.backends.fal.wire import Wire
from bridge.settings import Settings

PRICE = 0.05
"""US dollars a picture, by the endpoint's page."""
QUEUED_AFTER = 1.0
"""Seconds in the queue after which a request really waits there: each passes through it."""
LAST_MOMENT = 1.0
"""Seconds that an order on its way gets to arrive when the job is cancelled."""

T = TypeVar("T")


class Job:
    """What is known of one job while it runs. packed: gives the picture's PNG file, and is asked once at most."""

    def __init__(
        self, packed: Callable[[], bytes], settings: Settings, job: JobContext, account: Account, talk: Talk
    ) -> None:
        self._packed = packed
        self._settings = settings
        self._job = job
        self._clock = account.wall_clock
        self._account = account
        self._talk = talk
        self._seed = job.seed
        self._ticket: Ticket | None = None
        self._handing = False
        """An order is on its way, and nobody knows yet whether it arrived."""
        self._begun = False
        self._waits: asyncio.TimerHandle | None = None

    async def send(self) -> None:
        """Until fal has split the picture. Raises Trouble and Cancelled."""
        await self._within_bounds(self._until_said_done)

    async def fetch(self) -> list[DraftLayer]:
        """Until its layers are here. Raises Trouble and Cancelled."""
        return await self._within_bounds(self._until_fetched)

    # The way, from its end to its beginning

    async def _until_fetched(self, wire: Wire) -> list[DraftLayer]:
        result = await self._until_result(wire)
        self._talk.tell(Progress("Fetching the layers from fal", 0, 1))
        layers, notes = await outputs.collect(result, wire, sending.layers_asked(self._settings))
        seed = result.get("seed")
        self._job.seed = seed if isinstance(seed, int) else self._seed
        self._job.cost = PRICE
        self._job.notes += notes
        return layers

    async def _until_result(self, wire: Wire) -> dict[str, Any]:
        await self._until_done(wire)
        while True:
            ticket = self._taken()
            result = await queue.result(ticket, wire, patience=math.inf, lost=self._tell_lost)
            if result is not None:
                return result
            await asyncio.sleep(1)  # it was called done too early
            await self._ended_well(replace(ticket, done=False), wire)

    async def _until_said_done(self, wire: Wire) -> None:
        await self._until_done(wire)
        await self._hold(replace(self._taken(), done=True))

    async def _until_done(self, wire: Wire) -> None:
        """Until a request has ended well: the one that an earlier run was at, or else a new one."""
        ticket = await self._taken_up(wire)
        if ticket is None or not await self._ended_well(ticket, wire):
            await self._ended_well(await self._handed_over(wire), wire)

    async def _ended_well(self, ticket: Ticket, wire: Wire) -> bool:
        """Follow a request to its end; False where an earlier run called it off in time, and it can be sent anew."""
        if ticket.done:
            return True
        status = await queue.follow(ticket, wire, patience=math.inf, heard=self._hear, lost=self._tell_lost)
        self._hear_no_more()
        try:
            if status is None:
                raise troubles.gone()
            if status.error_type:
                await queue.result(ticket, wire, patience=self._clock, lost=self._tell_lost, failed=True)
                raise troubles.failure(status.error_type)
        except troubles.Trouble as trouble:
            if ticket.called_off and trouble.code in ("gone", "called_off"):
                self._ticket = None
                return False
            raise
        return True

    async def _taken_up(self, wire: Wire) -> Ticket | None:
        """The ticket that an earlier run was given, or would have been given; None where there is none."""
        handle = from_text(self._job.handle) if self._job.handle else None
        if isinstance(handle, Intent):
            self._handing = True
            return await self._looked_up(handle, wire)
        if handle is not None:
            self._talk.tell(Progress("Going on with what fal has begun", 0, 1))
            self._ticket, self._seed = queue.located(handle, wire.places), handle.seed
        return self._ticket

    async def _handed_over(self, wire: Wire) -> Ticket:
        self._talk.tell(Progress(f"Sending the picture to fal (about ${PRICE:.2f})", 0, 1))
        image = await storage.place(self._packed(), wire)
        intent = Intent(0.0, self._seed, "" if image.startswith("data:") else image)

        async def write_down() -> None:
            nonlocal intent
            if self._talk.over or self._job.cancelled():
                raise asyncio.CancelledError  # nothing is there yet that would have to be called off
            intent = replace(intent, at=time.time() + wire.ahead)
            self._handing = True
            await self._talk.keep(to_text(intent))

        handing = queue.hand_over(
            sending.order(self._settings, image, self._seed),
            wire,
            seed=self._seed,
            start_within=self._clock,
            before=write_down,
            not_taken=self._not_taken,
        )
        ticket = await self._seen_through(handing)
        if ticket is None:
            return await self._looked_up(intent, wire)
        await self._hold(ticket)
        return ticket

    async def _not_taken(self, status: int) -> None:
        self._handing = False
        self._talk.tell(
            Paced("fal has too much to do: waiting", 0, 1, "refused")
            if status == 429
            else Progress("fal cannot be reached: trying again", 0, 1)
        )
        await self._talk.keep("")

    async def _seen_through(self, handing: Coroutine[Any, Any, Ticket | None]) -> Ticket | None:
        """The ticket, also where the job is cancelled while the order is on its way: unseen, it could not be called
        off."""
        task = asyncio.ensure_future(handing)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait({task}, timeout=LAST_MOMENT)
            if task.done() and not task.cancelled() and task.exception() is None:
                self._ticket = task.result()
            task.cancel()
            raise
        finally:
            if task.done() and not task.cancelled() and task.exception() is not None:
                self._handing = False  # fal has certainly not taken it

    async def _looked_up(self, intent: Intent, wire: Wire) -> Ticket:
        ticket = await listing.find(
            intent,
            wire,
            known=ids_in(self._job.others),
            patience=self._clock / 2,
            asking=lambda: self._talk.tell(Progress("Asking fal whether it took the picture", 0, 1)),
        )
        self._seed = intent.seed
        await self._hold(ticket)
        return ticket

    async def _hold(self, ticket: Ticket) -> None:
        """From here on the job is known by this ticket, whatever happens."""
        self._ticket, self._handing = ticket, False
        await self._talk.keep(to_text(ticket))

    def _taken(self) -> Ticket:
        assert self._ticket is not None
        return self._ticket

    # The bounds

    async def _within_bounds(self, way: Callable[[Wire], Coroutine[Any, Any, T]]) -> T:
        """Go the way within the wall clock; what is cut short is called off, what failed for good is forgotten."""
        async with Wire(self._account) as wire:
            try:
                async with asyncio.timeout(self._clock):
                    return await way(wire)
            except TimeoutError:
                trouble = troubles.overtime(self._clock, await self._called_off(wire))
            except asyncio.CancelledError:
                if not self._job.cancelled():
                    raise
                raise troubles.cancelled(await self._called_off(wire)) from None
            except troubles.Trouble as caught:
                trouble = caught
            finally:
                self._hear_no_more()
            if not trouble.holds:
                await self._talk.keep("")
            raise trouble

    async def _called_off(self, wire: Wire) -> str:
        """What becomes of the request when nobody waits for it any more; empty where there is none."""
        if self._ticket is None:
            return "unknown" if self._handing else ""
        spare = self._job.spare_begun
        fate = await queue.call_off(self._ticket, wire, begun=self._begun, spare_begun=spare)
        if not (spare and fate == "begun"):
            await self._hold(replace(self._ticket, called_off=True))
        return fate

    # What the user sees of it

    def _hear(self, status: queue.Status) -> None:
        if status.state == "IN_QUEUE":
            many = status.position or 0
            before = f"{many} other{'s' * (many != 1)} before this one" if many else "this one is next"
            self._talk.tell(Progress(f"Waiting at fal: {before}", 0, 1))
            if self._waits is None and not self._begun:
                self._waits = asyncio.get_running_loop().call_later(QUEUED_AFTER, self._tell_queued)
            return
        if not self._begun:
            self._hear_no_more()
            self._begun = True
            self._talk.tell(Paced(logs.STAGE, 0, 1, "started"))
        for progress in filter(None, map(logs.read, status.logs)):
            self._talk.tell(progress)

    def _tell_queued(self) -> None:
        self._talk.tell(Paced("Waiting at fal", 0, 1, "queued"))

    def _hear_no_more(self) -> None:
        if self._waits is not None:
            self._waits.cancel()

    def _tell_lost(self) -> None:
        self._talk.tell(Progress("The connection to fal is lost: trying again", 0, 1))
