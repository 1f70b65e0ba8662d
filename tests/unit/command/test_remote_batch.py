"""`unflatten split` and `batch` with a remote splitter: paid for once, whatever happens on the way."""

import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import keyring
import numpy as np
import pytest
from PIL import Image

from tests.unit.backends.fal.service import KEY, Fal, Reply, Service
from tests.unit.command.running import CommandLine, Here
from tests.unit.test_keys import InMemory


@pytest.fixture
def service() -> Iterator[Service]:
    with Service(seconds=0.3) as running:
        yield running


@pytest.fixture
def fal(service: Service) -> Fal:
    return service.fal


@pytest.fixture
def unflatten(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """`unflatten` that may send pictures to the service."""
    monkeypatch.setenv("FAL_KEY", KEY)
    monkeypatch.setenv("UNFLATTEN_FAL_URL", service.url)
    command = CommandLine(tmp_path)
    command.data.mkdir(parents=True)
    (command.data / "preferences.json").write_text('{"remote_allowed": true, "wall_clock": 30}')
    return command


def paint(folder: Path, count: int) -> list[Path]:
    """Noise, which no file makes small."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (160, 200, 3), np.uint8)).save(path)
    return paths


def left_over(unflatten: CommandLine) -> list[str | None]:
    """What is still written down of pictures that were to be sent: the service's names for them."""
    store = unflatten.data / "journal.sqlite"
    if not store.exists():
        return []
    with sqlite3.connect(store) as db, suppress(sqlite3.OperationalError):  # it may just be made
        return [handle for (handle,) in db.execute("SELECT handle FROM jobs")]
    return []


def stages(unflatten: CommandLine) -> list[str]:
    """How far each picture is that fal has or may have."""
    return [json.loads(handle)["stage"] for handle in left_over(unflatten) if handle]


def batch(*options: str) -> list[str]:
    return ["batch", "pictures", "-o", "out", "--backend", "fal", *options]


def results(unflatten: CommandLine) -> set[str]:
    return {file.name for file in (unflatten.folder / "out").glob("*.ora")}


# One picture


def test_the_price_is_told_before_and_after(unflatten: CommandLine, fal: Fal) -> None:
    paint(unflatten.folder / "pictures", 1)
    told = unflatten("split", "pictures/0.png", "-o", "a.ora", "--backend", "fal")
    assert told.returncode == 0, told.stderr
    assert told.stderr.splitlines()[0] == "Sending the picture to fal (Qwen-Image-Layered): about $0.05."
    assert "4 layers, top to bottom" in told.stdout and ", $0.05)." in told.stdout
    assert left_over(unflatten) == [] and len(fal.orders) == 1
    assert KEY not in told.stdout + told.stderr


def test_nothing_is_sent_without_leave(unflatten: CommandLine, fal: Fal) -> None:
    (unflatten.data / "preferences.json").unlink()
    paint(unflatten.folder / "pictures", 2)
    for words in (["split", "pictures/0.png", "-o", "a.ora", "--backend", "fal"], batch()):
        told = unflatten(*words)
        assert told.returncode == 1 and "unflatten set remote-allowed yes" in told.stderr
    assert fal.calls == [] and "a.ora" not in unflatten.names() and "out" not in unflatten.names()


def test_the_preferred_splitter_is_used_where_none_is_named(unflatten: CommandLine, fal: Fal) -> None:
    (unflatten.data / "preferences.json").write_text('{"remote_allowed": true, "backend": "fal"}')
    paint(unflatten.folder / "pictures", 1)
    assert unflatten("split", "pictures/0.png", "-o", "a.ora").returncode == 0
    assert len(fal.orders) == 1
    named = unflatten("split", "pictures/0.png", "-o", "b.ora", "--backend", "builtin", "--layers", "1")
    assert named.returncode == 0 and len(fal.orders) == 1


def test_a_split_that_was_killed_is_taken_up_by_the_next(unflatten: CommandLine, fal: Fal) -> None:
    fal.seconds = 1.5
    paint(unflatten.folder / "pictures", 1)
    words = ["split", "pictures/0.png", "-o", "a.ora", "--backend", "fal"]
    first = unflatten.start(*words)
    wait_for(lambda: any(order.state == "IN_PROGRESS" for order in fal.orders.values()))
    wait_for(lambda: stages(unflatten) == ["submitted"])
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    told = unflatten(*words)
    assert told.returncode == 0, told.stderr
    assert len(fal.orders) == 1 and left_over(unflatten) == []


# Many


def test_all_are_split_and_the_most_that_it_may_cost_is_told(unflatten: CommandLine, fal: Fal) -> None:
    paint(unflatten.folder / "pictures", 7)
    (unflatten.folder / "pictures" / "bad.png").write_bytes(b"no picture")
    told = unflatten(*batch("--layers", "3"))
    assert told.returncode == 1, "one was no picture"
    lines = told.stderr.splitlines()
    assert lines[0] == "Sending 8 pictures to fal (Qwen-Image-Layered) at about $0.05 each: $0.40 at most."
    assert lines[-1] == "7 split, 0 done before, 1 failed."
    assert "3 layers in out/0.ora" in told.stderr and ", $0.05)." in told.stderr
    assert results(unflatten) == {f"{number}.ora" for number in range(7)}
    assert len(fal.orders) == 7 and left_over(unflatten) == []
    seeds = {order.input["seed"] for order in fal.orders.values()}
    assert len(seeds) == 7
    again = unflatten(*batch("--layers", "3"))
    assert again.stderr.splitlines()[-1] == "0 split, 7 done before, 1 failed." and len(fal.orders) == 7


def test_what_fal_refuses_fails_alone(unflatten: CommandLine, fal: Fal) -> None:
    paint(unflatten.folder / "pictures", 4)
    fal.script["submit"] = [Reply(422, {"detail": [{"type": "content_policy_violation", "loc": [], "msg": ""}]})]
    told = unflatten(*batch())
    assert told.returncode == 1 and told.stderr.splitlines()[-1] == "3 split, 0 done before, 1 failed."
    assert "safety checker" in told.stderr and left_over(unflatten) == []
    fal.script.clear()
    assert unflatten(*batch()).stderr.splitlines()[-1] == "1 split, 3 done before, 0 failed."
    assert len(fal.orders) == 4


def test_an_account_that_takes_few_is_not_run_into_for_ever(unflatten: CommandLine, fal: Fal) -> None:
    fal.most_waiting = 3
    paint(unflatten.folder / "pictures", 9)
    told = unflatten(*batch())
    assert told.returncode == 0, told.stderr
    assert len(fal.orders) == 9 and fal.count("submit") < 9 + 9


def test_a_batch_that_was_killed_goes_on_and_pays_for_nothing_twice(unflatten: CommandLine, fal: Fal) -> None:
    """Killed while fal has some of the pictures, has not had others, and none is on its way."""
    fal.concurrency, fal.seconds = 2, 6.0
    paint(unflatten.folder / "pictures", 8)
    first = unflatten.start(*batch())
    seen: list[tuple[float, list[str]]] = []

    def none_is_on_its_way() -> bool:
        """Those at work and as many as may wait behind them are there, and for a second no other was sent."""
        seen.append((time.monotonic(), stages(unflatten)))
        since = next(at for at, found in seen if found == seen[-1][1])
        return set(seen[-1][1]) == {"submitted"} and seen[-1][0] - since > 1

    wait_for(none_is_on_its_way)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert 2 < len(fal.orders) < 8
    fal.concurrency, fal.seconds = 10, 0.2
    told = unflatten(*batch())
    assert told.returncode == 0, told.stderr
    assert len(fal.orders) == 8 and left_over(unflatten) == [] and len(results(unflatten)) == 8


def test_a_batch_killed_with_pictures_on_their_way_sends_again_only_what_fal_cannot_have(
    unflatten: CommandLine, fal: Fal
) -> None:
    """Where the kill fell between writing down and sending, fal lists nothing; then it is left to the user to try."""
    (unflatten.data / "preferences.json").write_text('{"remote_allowed": true, "wall_clock": 10}')
    fal.seconds = 0.8
    paint(unflatten.folder / "pictures", 8)
    first = unflatten.start(*batch())
    wait_for(lambda: len(fal.orders) >= 5)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    told = unflatten(*batch())
    taken = len(fal.orders)
    assert len(results(unflatten)) == taken, told.stderr
    assert told.stderr.count("it cannot be told whether fal took") == 8 - taken
    assert told.returncode == (taken < 8) and left_over(unflatten) == []
    again = unflatten(*batch())
    assert again.returncode == 0, again.stderr
    assert len(fal.orders) == 8 and len(results(unflatten)) == 8


def test_ctrl_c_ends_at_once_calls_off_what_waits_and_leaves_what_is_at_work(unflatten: CommandLine, fal: Fal) -> None:
    fal.concurrency, fal.seconds = 2, 8.0
    paint(unflatten.folder / "pictures", 6)
    first = unflatten.start(*batch())
    wait_for(lambda: stages(unflatten).count("submitted") >= 4)
    began = time.monotonic()
    os.killpg(first.pid, signal.SIGINT)
    _, told = first.communicate(timeout=20)
    assert first.returncode == 130 and "Run the same command again to go on." in told
    assert time.monotonic() - began < 10
    begun = [order for order in fal.orders.values() if not order.called_off]
    assert len(begun) == 2 and all(order.state != "IN_QUEUE" for order in begun)
    assert len(fal.orders) > 2, "nothing had waited"
    fal.concurrency, fal.seconds = 10, 0.2
    assert unflatten(*batch()).returncode == 0
    paid = [order for order in fal.orders.values() if not order.called_off]
    assert len(paid) == 6 and left_over(unflatten) == []


# The key


class Counting(InMemory):
    """Counts how often it is asked for a key: each time it may ask the user."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def get_password(self, service: str, username: str) -> str | None:
        self.asked += 1
        return super().get_password(service, username)


@pytest.fixture
def ring(service: Service, here: Here, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counting]:
    """The keyring of this process, in which commands run with leave to send pictures to the service."""
    monkeypatch.delenv("FAL_KEY", raising=False)
    monkeypatch.setenv("UNFLATTEN_FAL_URL", service.url)
    data = here.home / ".local" / "share" / "unflatten"
    data.mkdir(parents=True)
    (data / "preferences.json").write_text('{"remote_allowed": true}')
    ring, before = Counting(), keyring.get_keyring()
    keyring.set_keyring(ring)
    yield ring
    keyring.set_keyring(before)


def test_the_keyring_is_asked_once_by_a_command(here: Here, fal: Fal, ring: Counting) -> None:
    ring.held["unflatten", "fal"] = KEY
    paint(here.folder / "pictures", 3)
    told = here("split", "pictures/0.png", "-o", "a.ora", "--backend", "fal")
    assert told.returncode == 0, told.stderr
    assert ring.asked == 1
    told = here(*batch())
    assert told.returncode == 0, told.stderr
    assert ring.asked == 2 and len(fal.orders) == 4


def test_without_a_key_nothing_is_begun(here: Here, fal: Fal, ring: Counting) -> None:
    paint(here.folder / "pictures", 3)
    for words in (["split", "pictures/0.png", "-o", "a.ora", "--backend", "fal"], batch()):
        told = here(*words)
        assert told.returncode == 1 and told.stderr.startswith("There is no key for fal.\n")
        assert len(told.stderr.splitlines()) == 2
    assert fal.calls == [] and {name.partition("/")[0] for name in here.names()} == {"pictures"}


def wait_for(reached: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)
