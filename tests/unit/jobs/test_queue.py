"""Who runs when."""

from bridge.jobs.queue import Queue
from hypothesis import given
from hypothesis import strategies as st

CLIENTS = st.sampled_from("abc")
ARRIVALS = st.lists(st.tuples(CLIENTS, st.booleans()), max_size=12)


def filled(arrivals: list[tuple[str, bool]]) -> Queue:
    queue = Queue()
    for number, (client, batch) in enumerate(arrivals):
        queue.add(f"{client}{number}", client, batch=batch)
    return queue


def emptied(queue: Queue) -> list[str]:
    taken: list[str] = []
    while (job := queue.take()) is not None:
        taken.append(job)
    return taken


def test_an_empty_queue_has_nothing() -> None:
    assert Queue().take() is None and Queue().order() == []


def test_one_clients_jobs_keep_their_order() -> None:
    assert emptied(filled([("a", False)] * 3)) == ["a0", "a1", "a2"]


def test_interactive_goes_before_batch() -> None:
    assert emptied(filled([("a", True), ("a", True), ("b", False)])) == ["b2", "a0", "a1"]


def test_clients_take_turns() -> None:
    assert emptied(filled([("a", False)] * 3 + [("b", False)])) == ["a0", "b3", "a1", "a2"]


def test_a_client_that_comes_back_at_once_does_not_push_in() -> None:
    queue = filled([("a", False), ("a", False), ("b", False)])
    assert [queue.take(), queue.take()] == ["a0", "b2"]
    queue.add("b3", "b")
    assert queue.take() == "a1"


def test_a_job_can_be_taken_out_of_the_middle() -> None:
    queue = filled([("a", False)] * 3)
    assert queue.remove("a1") and not queue.remove("a1")
    assert "a1" not in queue and len(queue) == 2
    assert emptied(queue) == ["a0", "a2"]


@given(ARRIVALS, st.integers(0, 5))
def test_the_order_told_is_the_order_taken(arrivals: list[tuple[str, bool]], taken_before: int) -> None:
    queue = filled(arrivals)
    for _ in range(taken_before):
        queue.take()
    told = queue.order()
    assert told == queue.order(), "telling changes nothing"
    assert emptied(queue) == told


@given(ARRIVALS)
def test_nothing_is_lost_and_batch_waits(arrivals: list[tuple[str, bool]]) -> None:
    order = emptied(filled(arrivals))
    batch = {f"{client}{number}": is_batch for number, (client, is_batch) in enumerate(arrivals)}
    assert sorted(order) == sorted(batch)
    assert [batch[job] for job in order] == sorted(batch[job] for job in order)
