"""What the door tells of a request: its status, its result, or what went wrong."""

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from starlette.responses import Response, StreamingResponse

from bridge.errors import UnflattenError
from bridge.jobs.journal import Entry, State
from bridge.jobs.reasons import CutOff, LayersGone
from bridge.jobs.spool import Spool, image_path
from bridge.server.fal_door.desk import Desk
from bridge.server.fal_door.errors import FalError, json_response, of_error, unprocessable
from bridge.server.fal_door.files import address
from bridge.server.fal_door.hosts import ENDPOINT, Way
from bridge.server.fal_door.images import file_name
from bridge.server.fal_door.ticket import LogLine

PIECE = 3 * 2**18  # whole groups of three bytes, which base64 turns into four letters each

Body = dict[str, Any]


def request_id(entry: Entry) -> str:
    """A job's 32 digits as fal's clients know them."""
    digits = entry.id
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def identified(entry: Entry) -> dict[str, str]:
    return {"X-Fal-Request-Id": request_id(entry)}


def addresses(entry: Entry, way: Way) -> Body:
    """Where a request can be asked for, by a client that came that way."""
    base = f"{way.queue}/{ENDPOINT}/requests/{request_id(entry)}"
    urls = {"response_url": base, "status_url": f"{base}/status", "cancel_url": f"{base}/cancel"}
    return {"request_id": request_id(entry), **urls}


def is_over(desk: Desk, entry: Entry) -> bool:
    return desk.ticket(entry) is None and entry.state.ended


def status(desk: Desk, entry: Entry, way: Way, *, logs_from: int | None) -> Body:
    """A request's status, with its log from line `logs_from` on; None: without."""
    ticket = desk.ticket(entry)
    extra = entry.extra or {}
    body = addresses(entry, way)
    if not is_over(desk, entry) and entry.state is State.QUEUED:
        return {"status": "IN_QUEUE", **body, "queue_position": desk.position(entry)}
    lines: list[LogLine] = ticket.logs if ticket is not None else extra.get("logs", [])
    body["logs"] = [] if logs_from is None else lines[logs_from:]
    if not is_over(desk, entry):
        return {"status": "IN_PROGRESS", **body}
    body["metrics"] = {"inference_time": entry.report["seconds"]} if entry.report else {}
    wrong = failure(entry)
    if wrong is not None:
        body.update(error=wrong.sentence, error_type=wrong.error_type)
    return {"status": "COMPLETED", **body}


def failure(entry: Entry) -> FalError | None:
    """What went wrong with a request that is over; None where nothing did."""
    extra = entry.extra or {}
    if "wrong" in extra:
        return unprocessable(extra["wrong"])
    if "unfinished" in extra:
        code, message, hint, retryable = extra["unfinished"]
        return of_error(UnflattenError(message, hint, code=code, retryable=retryable))
    return None if entry.state is State.DONE else of_error(entry.error or CutOff())


def result(desk: Desk, spool: Spool, entry: Entry, way: Way) -> Response:
    """The result of a request that is over, or its failure."""
    wrong = failure(entry)
    if wrong is not None:
        return wrong.response(identified(entry))
    extra = entry.extra or {}
    if not extra.get("sync"):
        return json_response(output(desk, entry, way), headers=identified(entry))
    files = _files(spool, entry)
    if not all(path.is_file() for path, _ in files):
        return of_error(LayersGone()).response(identified(entry))
    parts = _around_data(output(desk, entry, way, marker := secrets.token_hex(16)), marker)
    length = sum(map(len, parts)) + sum(map(_encoded_length, files))
    headers = {**identified(entry), "Content-Length": str(length)}
    return StreamingResponse(_with_data(parts, files), headers=headers, media_type="application/json")


def output(desk: Desk, entry: Entry, way: Way, marker: str = "") -> Body:
    """The endpoint's output. marker: stands for each picture where it goes into the answer itself."""
    extra, report = entry.extra or {}, entry.report or {}
    images: list[Body] = [
        {
            "url": marker or address(way.media, image["name"], file_name(index, image["kind"])),
            "content_type": f"image/{image['kind']}",
            "file_name": file_name(index, image["kind"]),
            "file_size": image["nbytes"],
            "width": entry.width,
            "height": entry.height,
        }
        for index, image in enumerate(extra["images"])
    ]
    told: Body = {
        "images": images,
        "timings": {"inference": report["draft_seconds"], "finish": report["finish_seconds"]},
        "seed": report["seed"] if extra.get("seed") is None else extra["seed"],
        "has_nsfw_concepts": [bool(image["unsafe"]) for image in extra["images"]],
    }
    prompt = desk.prompt(entry)
    return {**told, "prompt": prompt} if prompt else told


async def result_line(desk: Desk, spool: Spool, entry: Entry, way: Way) -> AsyncIterator[bytes]:
    """The result as one event of a stream, or its failure."""
    response = result(desk, spool, entry, way)
    yield b"data: "
    if isinstance(response, StreamingResponse):
        async for piece in response.body_iterator:
            yield piece if isinstance(piece, bytes) else str(piece).encode()
    else:
        yield bytes(response.body)
    yield b"\n\n"


def _files(spool: Spool, entry: Entry) -> list[tuple[Path, str]]:
    """A result's files, back to front, and what each data URI begins with."""
    folder = spool.folder(entry.id)
    images = (entry.extra or {})["images"]
    return [
        (image_path(folder, index, image["kind"]), f"data:image/{image['kind']};base64,")
        for index, image in enumerate(images)
    ]


def _encoded_length(file: tuple[Path, str]) -> int:
    path, start = file
    return len(start) + 4 * -(-path.stat().st_size // 3)


def _around_data(told: Body, marker: str) -> list[bytes]:
    return json.dumps(told, separators=(",", ":")).encode("ascii").split(marker.encode())


async def _with_data(parts: list[bytes], files: list[tuple[Path, str]]) -> AsyncIterator[bytes]:
    """The answer with its pictures in it, a piece at a time: together they may be larger than memory."""
    for part, (path, start) in zip(parts, files, strict=False):
        yield part + start.encode()
        with open(path, "rb") as file:
            while piece := await asyncio.to_thread(file.read, PIECE):
                yield base64.b64encode(piece)
    yield parts[-1]
