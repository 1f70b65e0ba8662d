"""What waits for a client: in order, of progress only the latest, and no more than one that reads would let wait."""

import asyncio
import json
import socket
import time

import psutil

from bridge import protocol
from bridge.server import outbox
from bridge.server.outbox import Outbox
from tests.unit.trial.client import noise
from tests.unit.trial.running import Bridge

MIB = 2**20


class Socket:
    """Takes what is sent once `open` is set."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.open = asyncio.Event()

    async def send_text(self, text: str) -> None:
        await self.open.wait()
        self.sent.append(text)


async def test_of_each_job_s_progress_only_the_latest_waits() -> None:
    box, client = Outbox(lambda _: None), Socket()
    for step in range(1000):
        for job in ("a", "b"):
            box.put_passing(job, f"{job}{step}")
    box.put("stack a")
    box.put_passing("a", "a last")
    client.open.set()
    sending = asyncio.create_task(box.send_to(client))  # type: ignore[arg-type]
    await box.flushed()
    assert client.sent == ["b999", "stack a", "a last"]
    sending.cancel()


async def test_there_is_room_until_too_much_waits() -> None:
    box, client = Outbox(lambda _: None), Socket()
    for _ in range(outbox.MOST_ITEMS):
        await asyncio.wait_for(box.room(), 1)
        box.put("x")
    waiting = asyncio.create_task(box.room())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    client.open.set()
    sending = asyncio.create_task(box.send_to(client))  # type: ignore[arg-type]
    await asyncio.wait_for(waiting, 1)
    sending.cancel()
    box.put("y" * outbox.MOST_TEXT)
    assert not asyncio.create_task(box.room()).done()


def flood(bridge: Bridge, frame: bytes, many: int) -> float:
    """Bytes that the bridge grows by while a client sends so many frames and reads nothing."""
    process = psutil.Process(bridge.process.pid)
    with bridge.client() as client:
        raw: socket.socket = client.socket.socket
        before = peak = process.memory_info().rss
        raw.settimeout(1)
        piece = frame * 1000
        began = time.monotonic()
        try:
            raw.sendall(bytes([0x01, 0x80]) + bytes(4) if frame[0] == 0x00 else b"")
            for _ in range(many // 1000):
                raw.sendall(piece)
                peak = max(peak, process.memory_info().rss)
        except OSError:
            pass  # as it should be: nothing more is read of it, or it is sent away
        while time.monotonic() - began < 3:
            peak = max(peak, process.memory_info().rss)
            time.sleep(0.02)
        with bridge.client() as other:
            assert other.split(noise(64, 64)).kinds()[-1] == "done"
        raw.close()
    return peak - before


def masked(opcode: int, payload: bytes) -> bytes:
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + bytes(4) + payload


def test_a_client_that_never_reads_costs_next_to_nothing(bridge: Bridge) -> None:
    with bridge.client() as client:
        client.split(noise(64, 64))
    nonsense = json.dumps({"type": "dance"}).encode()
    question = protocol.encode("backends").encode()
    frames = {
        "nonsense": masked(1, nonsense),
        "questions": masked(1, question),
        "empty": masked(1, b""),
        "pings": masked(9, b"x" * 100),
        "pieces": bytes([0x00, 0x80]) + bytes(4),
    }
    for name, frame in frames.items():
        cost = flood(bridge, frame, 200_000)
        assert cost < 48 * MIB, (name, cost)
    assert psutil.Process(bridge.process.pid).memory_info().rss < 120 * MIB
