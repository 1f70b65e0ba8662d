"""The log tells where, never what."""

import logging
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.server.log import describe_loop_error, start_log


@pytest.fixture
def log(tmp_path: Path) -> Iterator[logging.Logger]:
    root = logging.getLogger()
    before = (list(root.handlers), root.level, logging.raiseExceptions)
    yield start_log(tmp_path)
    for handler in root.handlers:
        handler.close()
    root.handlers[:], logging.raiseExceptions = before[0], before[2]
    root.setLevel(before[1])


def written(folder: Path) -> str:
    return "".join(path.read_text("utf-8") for path in sorted(folder.glob("bridge.log*")))


def test_an_error_is_told_by_type_and_place_without_its_words(log: logging.Logger, tmp_path: Path) -> None:
    try:
        raise KeyError("mermaid")
    except KeyError:
        log.exception("job %s", "7")
    text = written(tmp_path)
    assert "KeyError at" in text and "test_log.py:" in text and "job 7" in text
    assert "mermaid" not in text


def test_an_error_that_asyncio_finds_is_told_without_its_objects(log: logging.Logger, tmp_path: Path) -> None:
    message, error = describe_loop_error(
        {"message": "Task exception was never retrieved", "exception": ValueError("mermaid"), "task": "<Task mermaid>"}
    )
    log.error(message, exc_info=error)
    assert "ValueError" in written(tmp_path) and "mermaid" not in written(tmp_path)


def test_what_servers_say_of_each_request_is_left_out(log: logging.Logger, tmp_path: Path) -> None:
    for name in ("uvicorn.error", "uvicorn.access", "websockets.server", "asyncio"):
        logging.getLogger(name).info("GET /v1/status?token=abc")
        logging.getLogger(name).debug("Authorization: Bearer abc")
    assert "abc" not in written(tmp_path)


def test_it_is_private_and_does_not_grow_without_end(log: logging.Logger, tmp_path: Path) -> None:
    for _ in range(9_000):
        log.info("x" * 500)
    files = list(tmp_path.glob("bridge.log*"))
    assert len(files) == 3 and sum(path.stat().st_size for path in files) < 3.5 * 2**20
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
