"""Whoever listens to jobs: late ones are told what they lack, and a job that nobody listens to is abandoned."""

import asyncio
from collections.abc import Callable

from bridge.jobs.errors import CutOff, LayersGone
from bridge.jobs.files import JobFiles
from bridge.jobs.job import Done, Failed, Job, LayerReady, Listener, Progressed, Stacked, State
from bridge.jobs.lanes import Lane
from bridge.jobs.live import LiveJob, LiveJobs


class Listening:
    """The listeners of one engine's jobs. abandon: ends a job, by its id; grace: seconds before that."""

    def __init__(self, jobs: LiveJobs, files: JobFiles, *, abandon: Callable[[str], None], grace: float) -> None:
        self._jobs = jobs
        self._files = files
        self._abandon = abandon
        self._grace = grace

    def join(self, live: LiveJob, have: set[int], listener: Listener) -> None:
        """Tell `listener` what it lacks of a job that lives, and all that happens from now on."""
        if live.leaving is not None:
            live.leaving.cancel()
            live.leaving = None
        if listener not in live.listeners:
            live.listeners.append(listener)
        job = live.job
        if job.layers is None:
            if live.progress is not None:
                listener(job.id, live.progress)
            return
        listener(job.id, Stacked(job.width, job.height, job.layers))
        for index in sorted(live.ready - have):
            listener(job.id, LayerReady(index, job.layers[index], self._files.layer(job.id, index)))

    def retell(self, job: Job, have: set[int], listener: Listener) -> None:
        """Tell `listener` what it lacks of a job that has ended."""
        if job.state is not State.DONE or job.layers is None:
            listener(job.id, Failed(job.error or CutOff()))
            return
        layers = job.layers
        if not all(self._files.has_layer(job.id, index, job.layer_nbytes(each)) for index, each in enumerate(layers)):
            listener(job.id, Failed(LayersGone()))
            return
        listener(job.id, Stacked(job.width, job.height, layers))
        for index, outline in enumerate(layers):
            if index not in have:
                listener(job.id, LayerReady(index, outline, self._files.layer(job.id, index)))
        listener(job.id, Done(job.report or {}))

    def leave(self, listener: Listener) -> None:
        """Whoever listened is gone."""
        for live in self._jobs:
            if listener in live.listeners:
                live.listeners.remove(listener)
                self.expect_someone(live)

    def expect_someone(self, live: LiveJob) -> None:
        """Where nobody listens to a job that needs someone, let it go on for the time of grace."""
        if not live.listeners and live.leaving is None and not live.job.request.unattended:
            live.leaving = asyncio.get_running_loop().call_later(self._grace, self._lose_patience, live)

    def tell_positions(self, lane: Lane) -> None:
        """Tell those who wait in a lane how many pictures go first, where that has changed."""
        for place, job_id in enumerate(lane.order()):
            first = place + lane.busy
            live = self._jobs.get(job_id)
            if first and live is not None and not live.begun:
                live.show(Progressed(f"Waiting for {first} other picture{'s' if first > 1 else ''}", 0, 1))

    def _lose_patience(self, live: LiveJob) -> None:
        if live.job.handle is None:  # what a service has may be paid for already: it goes on to its end
            self._abandon(live.id)
