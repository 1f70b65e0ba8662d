"""The API's files: limits, a full disk, what is kept of names, and what is swept."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from bridge.errors import OutOfSpace
from bridge.files import disk
from bridge.jobs.files import SOURCE, JobFiles
from bridge.server.fal import files
from bridge.server.fal.files import Files, TooLarge, UploadsFull
from bridge.server.fal.pictures import Given, Pictures
from bridge.server.uploads import UPLOAD_LIFE, sweep_uploads

LOCAL = {"127.0.0.1:4000"}


@pytest.fixture
def kept(tmp_path: Path) -> Files:
    return Files(tmp_path / "uploads", lambda name: None, life=3600)


async def pieces(*each: bytes) -> AsyncIterator[bytes]:
    for piece in each:
        yield piece


def receive(kept: Files, *each: bytes, seconds: float | None = None) -> str:
    return asyncio.run(kept.receive(pieces(*each), "a.png", "image/png", kept.expiry(seconds)))


def lying(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.iterdir())


def test_a_name_is_not_on_the_disk(kept: Files, tmp_path: Path) -> None:
    """Whoever may read the folder, in a backup of it, say, cannot fetch from the api."""
    name = receive(kept, b"abc")
    assert len(name) == 43
    for path in (tmp_path / "uploads").iterdir():
        assert name not in path.name and name.encode() not in path.read_bytes()
    stored = kept.find(name)
    assert stored is not None and (stored.path.read_bytes(), stored.content_type) == (b"abc", "image/png")
    assert kept.find(name[:-1] + "!") is None


def test_a_file_larger_than_may_be_leaves_nothing(kept: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_SOURCE", 10)
    receive(kept, b"a" * 5, b"b" * 5)
    before = lying(tmp_path / "uploads")
    with pytest.raises(TooLarge):
        receive(kept, b"a" * 5, b"b" * 6)
    assert lying(tmp_path / "uploads") == before == [".bin", ".json"]


def test_all_uploads_together_have_a_limit(kept: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_UPLOADS", 10)
    receive(kept, b"a" * 6, seconds=0.1)
    with pytest.raises(UploadsFull):
        receive(kept, b"b" * 5)
    time.sleep(0.15)
    asyncio.run(kept.sweep())
    receive(kept, b"b" * 5)


def test_a_full_disk_takes_nothing_and_leaves_nothing(
    kept: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(OutOfSpace):
        receive(kept, b"abc")
    jobs = JobFiles(tmp_path / "jobs")
    incoming = Pictures(jobs, None, kept, LOCAL)  # type: ignore[arg-type]
    with pytest.raises(OutOfSpace):
        asyncio.run(incoming.place("a" * 32, Given("digest", content=[b"abc"])))
    assert lying(tmp_path / "uploads") == []
    assert list((tmp_path / "jobs").iterdir()) == []


def test_what_is_announced_and_breaks_off_may_come_again(kept: Files, tmp_path: Path) -> None:
    secret, name, _ = kept.initiate("a.png", "image/png", kept.expiry(None))

    async def broken() -> AsyncIterator[bytes]:
        yield b"abc"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        asyncio.run(kept.receive_initiated(secret, broken()))
    assert lying(tmp_path / "uploads") == []
    assert asyncio.run(kept.receive_initiated(secret, pieces(b"abc")))
    assert not asyncio.run(kept.receive_initiated(secret, pieces(b"def")))
    stored = kept.find(name)
    assert stored is not None and stored.path.read_bytes() == b"abc"


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:4000/media/files/{name}/a.png", "http://127.0.0.1:4000/media/files/{name}"),
        *("https://127.0.0.1:4000/media/files/{name}/a.png", "https://v3.fal.media/files/{name}/a.png"),
    ],
)
def test_a_file_is_known_by_each_of_its_addresses(kept: Files, url: str) -> None:
    name = receive(kept, b"abc")
    assert kept.find_url(url.format(name=name), LOCAL) is not None


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:4001/media/files/{name}/a.png", "http://evil.example/media/files/{name}/a.png"),
        *("http://v3.fal.media/files/{name}/a.png", "https://v3b.fal.media/files/{name}/a.png", "https://[::1"),
        *("https://v3.fal.media/files/{name}/../a.png", "https://v3.fal.media/other/{name}/a.png", "{name}", ""),
    ],
)
def test_and_by_no_other(kept: Files, url: str) -> None:
    name = receive(kept, b"abc")
    assert kept.find_url(url.format(name=name), LOCAL) is None


def test_a_job_keeps_its_picture_when_the_upload_expires(kept: Files, tmp_path: Path) -> None:
    stored = kept.find(receive(kept, b"abc", seconds=0.05))
    assert stored is not None
    jobs = JobFiles(tmp_path / "jobs")
    incoming = Pictures(jobs, None, kept, LOCAL)  # type: ignore[arg-type]
    asyncio.run(incoming.place("a" * 32, Given("digest", file=stored.path)))
    time.sleep(0.1)
    sweep_uploads(tmp_path / "uploads")
    assert lying(tmp_path / "uploads") == []
    assert (jobs.folder("a" * 32) / SOURCE).read_bytes() == b"abc"


def test_what_a_crash_left_is_swept_once_it_is_old(kept: Files, tmp_path: Path) -> None:
    folder = tmp_path / "uploads"
    receive(kept, b"abc")
    for name in ("x.part", "y.bin"):
        (folder / name).write_bytes(b"rest")
    (folder / "z.json").write_text("{")
    sweep_uploads(folder)
    assert lying(folder) == [".bin", ".bin", ".json", ".part"]
    old = time.time() - UPLOAD_LIFE - 1
    for name in ("x.part", "y.bin"):
        os.utime(folder / name, (old, old))
    sweep_uploads(folder)
    assert lying(folder) == [".bin", ".json"]
    [about] = folder.glob("*.json")
    assert set(json.loads(about.read_text())) == {"file_name", "content_type", "expires", "sha256"}
