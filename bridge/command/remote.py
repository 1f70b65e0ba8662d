"""A batch that a remote service splits: many pictures there, few in this memory.

Each is loaded to be sent and let go of; when the service has split it, it is loaded once more and finished.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing

from bridge.backends.base import Handle, JobContext, Paced, Progress, Remote
from bridge.command.crew import OnProgress, Result
from bridge.command.lanes import Lane, Lanes
from bridge.command.split import Order, split
from bridge.command.submitted import Submission
from bridge.errors import Cancelled, UnflattenError
from bridge.files.load import load_picture
from bridge.jobs.local import seed_of

PICTURES = 4
"""Pictures in memory at once."""
MOST_UNFINISHED = 16
"""Pictures that may wait to be finished here: the service keeps what it made for an hour only."""
PATIENCE = 5.0
LOOK = 0.1


def work_through(
    orders: Iterable[tuple[Order, Submission]],
    backend: Remote,
    on_progress: OnProgress,
    cancelled: Callable[[], bool],
    lanes: Lanes | None = None,
) -> Iterator[tuple[Order, Result]]:
    """Split every picture, and yield each result as it comes, until `cancelled` answers True.

    Then what waits at the service is called off, and what it works on is left to it: the next run takes that up.
    """
    waiting = list(orders)
    total = len(waiting)
    office = _Office(backend, on_progress, lanes or Lanes())
    sending = threading.Thread(target=office.send_all, args=(waiting,), daemon=True)
    sending.start()
    try:
        while total:
            try:
                yield office.done.get(timeout=LOOK)
                total -= 1
            except queue.Empty:
                if cancelled():
                    return
    finally:
        office.ending.set()
        office.join(sending)


class _Office:
    """The threads of one batch: one for each picture that is under way."""

    def __init__(self, backend: Remote, on_progress: OnProgress, lanes: Lanes) -> None:
        self.done: queue.SimpleQueue[tuple[Order, Result]] = queue.SimpleQueue()
        self.ending = threading.Event()
        self._backend = backend
        self._on_progress = on_progress
        self._lanes = lanes
        self._in_memory = threading.Semaphore(PICTURES)
        self._finishing = threading.Semaphore(PICTURES - 1)  # one place is left for those to be sent
        self._unfinished = threading.Semaphore(MOST_UNFINISHED)
        self._threads: set[threading.Thread] = set()

    def send_all(self, orders: list[tuple[Order, Submission]]) -> None:
        for order, submission in orders:
            lane = None
            while lane is None and not self.ending.is_set():
                lane = self._lanes.take(LOOK)
            if lane is None:
                return
            thread = threading.Thread(target=self._mind, args=(order, submission, lane), daemon=True)
            self._threads = {each for each in self._threads if each.is_alive()} | {thread}
            thread.start()

    def join(self, sending: threading.Thread) -> None:
        sending.join(PATIENCE)
        for thread in list(self._threads):
            thread.join(PATIENCE)

    def _mind(self, order: Order, submission: Submission, lane: Lane) -> None:
        """See one picture through."""
        try:
            try:
                self._send(order, submission, lane)
                self._unfinished.acquire()  # in the lane still: where finishing takes longer, no more is sent
            finally:
                lane.leave()
            try:
                with self._finishing, self._in_memory:
                    outcome = split(
                        order, lambda step: self._on_progress(order, step), self.ending.is_set, submission=submission
                    )
            finally:
                self._unfinished.release()
        except UnflattenError as problem:
            self.done.put((order, problem))
        except MemoryError:
            self.done.put((order, _no_memory(order)))
        except Exception as problem:
            told = f"{order.source.name} could not be split: {type(problem).__name__}."
            self.done.put((order, UnflattenError(told, "Report it as a bug.")))
        else:
            self.done.put((order, outcome))

    def _send(self, order: Order, submission: Submission, lane: Lane) -> None:
        """Until the service has split it; its last handle is then written down."""
        job = JobContext(
            seed_of(order.settings),
            cancelled=self.ending.is_set,
            handle=submission.handle,
            others=submission.others,
            spare_begun=True,
        )
        with closing(self._backend.send(self._packed(order), order.settings, job)) as steps:
            for step in steps:
                if isinstance(step, Handle):
                    submission.keep(step.text)
                else:
                    self._hear(order, step, lane)

    def _packed(self, order: Order) -> bytes:
        with self._in_memory:
            if self.ending.is_set():
                raise Cancelled()
            self._on_progress(order, Progress("Opening the picture", 0, 1))
            return self._backend.pack(load_picture(order.source))

    def _hear(self, order: Order, step: Progress, lane: Lane) -> None:
        if isinstance(step, Paced):
            lane.hear(step.pace)
        self._on_progress(order, step)


def _no_memory(order: Order) -> UnflattenError:
    return UnflattenError(
        f"There was not enough memory for {order.source.name}.", "Make the picture smaller, or close other programs."
    )
