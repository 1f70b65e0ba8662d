"""How a job runs: which lanes it waits in, and what is done in each."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from bridge.backends.base import CPU, Placement, Progress, RemoteBackend, RemoteError
from bridge.backends.choice import Choice, choose
from bridge.errors import UnflattenError
from bridge.jobs import drafts, reuse
from bridge.jobs.errors import LayersGone
from bridge.jobs.files import JobFiles
from bridge.jobs.job import LayerReady, Previewed, SavedImage, Stacked, State
from bridge.jobs.lanes import Lane, Place, Scheduler
from bridge.jobs.live import Clock, LiveJob, LiveJobs
from bridge.jobs.plain import outlines_from_plain, output_to_plain, source_to_plain
from bridge.jobs.remote import PACKING, Connections, Remote
from bridge.jobs.store import Store
from bridge.jobs.supervisor import Workers

MOST_UNFINISHED = 16
"""Pictures that may wait to be finished here: services keep what they made for an hour or so. While as many wait, no
more are sent."""
PACE_RANGE = (0.2, 5.0)
"""How far this computer may be from the estimates."""

Message = dict[str, Any]


class Executor:
    """Runs jobs, each in its lanes. cpu: jobs at a time in the processor's lane."""

    def __init__(
        self, store: Store, files: JobFiles, workers: Workers, *, cpu: int = 1, changed: Callable[[Lane], None]
    ) -> None:
        self.scheduler = Scheduler(cpu=cpu, changed=changed)
        self.paces: dict[str, float] = {}
        """Seconds taken over seconds estimated, by backend, of the last job."""
        self._store = store
        self._files = files
        self._workers = workers
        self._connections = Connections()
        self._unfinished = asyncio.Semaphore(MOST_UNFINISHED)
        self._packing = asyncio.Semaphore(PACKING)

    async def close(self) -> None:
        await self._connections.close()

    async def connect(self, chosen: Choice) -> None:
        """Speak with the backend's service before its first job, where it has one. Raises BackendUnavailable."""
        if chosen.remote is not None:
            await self._connections.model(chosen.remote, chosen.options)

    async def run(self, live: LiveJob, jobs: LiveJobs) -> None:
        """Until the output is whole. jobs: all that live. Raises UnflattenError where there will be none."""
        await self._wait_for_the_same(live, jobs)
        if await self._reused(live):
            return
        chosen = choose(live.job.request.backend, live.job.request.options).check()
        remote, placement = chosen.remote, chosen.placement
        if remote is None and placement.lane == CPU:
            async with self._place(live, self.scheduler.cpu):
                self._begin(live, chosen)
                await self._in_worker(live, chosen, "split", placement)
        else:
            self._files.folder(live.id).mkdir(mode=0o700, exist_ok=True)  # none where the picture lies elsewhere
            async with AsyncExitStack() as unfinished:
                if not drafts.has_draft(self._files.folder(live.id)):
                    async with self._place(live, self.scheduler.lane(placement)) as place:
                        self._begin(live, chosen)
                        if remote is not None:
                            await self._at_service(live, remote, chosen.options, place)
                        else:
                            await self._in_worker(live, chosen, "draft", placement)
                        await unfinished.enter_async_context(self._unfinished)
                async with self._place(live, self.scheduler.cpu, first=True):
                    if not live.begun:
                        self._begin(live, chosen)
                    await self._finish(live, chosen)
            drafts.erase(self._files.folder(live.id))
        self._learn(live)

    def _place(self, live: LiveJob, lane: Lane, *, first: bool = False) -> Any:
        request = live.job.request
        return lane.place(live.id, request.client, batch=request.batch, first=first)

    def _begin(self, live: LiveJob, chosen: Choice) -> None:
        job = live.job
        job.state = State.RUNNING
        job.attempts += 1
        self._store.save(job)
        if chosen.remote is not None:  # here a worker says when it begins: its own start is not the backend's time
            live.clock = self._clock(live, chosen)

    def _clock(self, live: LiveJob, chosen: Choice) -> Clock | None:
        job = live.job
        if not job.width:
            return None
        estimate = chosen.backend.estimate(job.width, job.height, job.request.settings)
        return Clock(estimate.seconds * self.pace(chosen.name))

    def pace(self, backend: str) -> float:
        """How many times longer than estimated the backend's jobs take here."""
        return self.paces.get(backend, 1.0)

    def _learn(self, live: LiveJob) -> None:
        clock, backend = live.clock, live.job.request.backend
        if clock is not None and clock.estimated > 0:
            low, high = PACE_RANGE
            self.paces[backend] = min(max(clock.taken / clock.estimated * self.pace(backend), low), high)

    # The same asked for twice

    async def _wait_for_the_same(self, live: LiveJob, jobs: LiveJobs) -> None:
        """Wait until no job that goes first asks for the same: its result serves this one too."""
        while live.job.handle is None and (same := jobs.first_of_the_same(live)) is not None:
            live.same = same
            same.followers.append(live)
            if same.progress is not None:
                live.show(same.progress)
            await same.over.wait()

    async def _reused(self, live: LiveJob) -> bool:
        """Whether an earlier job's result is this one's, too; where only its service has it, go on with that."""
        job = live.job
        if job.handle is not None:
            return False
        other = reuse.find(job, self._store, served_by=live.same and live.same.id)
        if other is None:
            return False
        if not await asyncio.to_thread(reuse.take_over_result, job, other, self._files):
            reuse.take_over_handle(job, other, self._store)
            return False
        assert job.layers is not None
        job.state = State.FINISHING
        self._store.save(job)
        live.tell(Stacked(job.width, job.height, job.layers))
        for index in range(len(job.layers)):
            live.ready.add(index)
            live.tell(self.layer(live, index))
        return True

    # Where it is done

    async def _at_service(self, live: LiveJob, backend: RemoteBackend, options: BaseModel, place: Place) -> None:
        try:
            model = await self._connections.model(backend, options)
            remote = Remote(
                live, backend, options, model, place, self._store, self._files, self._workers, self._packing
            )
            fetched = await remote.draft()
        except RemoteError as error:
            if error.kind == "service" and not error.retryable:  # it may lie in the key, which the user mends
                self._connections.renew()
            raise
        live.progressed(Progress("Making the layers exact", 0, 1))
        await asyncio.to_thread(drafts.write_fetched, self._files.folder(live.id), fetched)

    async def _finish(self, live: LiveJob, chosen: Choice) -> None:
        try:
            await self._in_worker(live, chosen, "finish", Placement(CPU))
        except UnflattenError as error:
            if error.kind in ("service", "content", "no_layers"):  # the same would come of the same draft again
                drafts.erase(self._files.folder(live.id))
                live.job.handle = None
            raise

    async def _in_worker(self, live: LiveJob, chosen: Choice, do: str, placement: Placement) -> None:
        request = live.job.request
        order: Message = {
            "do": do,
            "folder": str(self._files.folder(live.id).absolute()),
            "source": source_to_plain(request.source),
            "output": output_to_plain(request.output),
            "settings": request.settings.model_dump(),
            "backend": request.backend,
            "options": chosen.options.model_dump(mode="json"),
            "seed": live.seed,
            "drafted": 0.0 if live.clock is None else round(live.clock.taken, 3),
        }
        async with aclosing(self._workers.run(live.id, order, placement)) as events:
            async for event in events:
                self._apply(live, chosen, event)

    def _apply(self, live: LiveJob, chosen: Choice, event: Message) -> None:
        """Write down and pass on one event of a worker's."""
        job = live.job
        match event["event"]:
            case "opened":
                job.width, job.height = event["width"], event["height"]
                live.clock = live.clock or self._clock(live, chosen)
            case "progress":
                live.progressed(Progress(event["stage"], event["step"], event["steps"], event.get("seconds_left")))
            case "preview":
                live.tell(Previewed(event["layers"], event["width"], event["height"], Path(event["path"])))
            case "stack":
                job.layers = outlines_from_plain(event["layers"])
                job.state = State.FINISHING
                self._store.save(job)
                live.tell(Stacked(job.width, job.height, job.layers))
            case "layer":
                live.ready.add(event["index"])
                live.tell(self.layer(live, event["index"]))
            case "image":
                live.images[event["index"]] = SavedImage(event["nbytes"], event["unsafe"])
            case "done" if "report" in event:
                job.images = tuple(live.images[index] for index in sorted(live.images)) or None
                job.report = event["report"]
            case _:
                pass

    def layer(self, live: LiveJob, index: int) -> LayerReady:
        """The event that tells of a layer whose file is whole."""
        if live.job.layers is None:
            raise LayersGone()
        return LayerReady(index, live.job.layers[index], self._files.layer(live.id, index))
