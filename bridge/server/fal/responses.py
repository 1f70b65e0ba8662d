"""What the API answers of a request: its status, its result, or what went wrong."""

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from starlette.responses import Response, StreamingResponse

from bridge.jobs.errors import LayersGone
from bridge.jobs.files import JobFiles, image_path
from bridge.jobs.job import LayerImages, State
from bridge.server.fal.errors import json_response, of_error
from bridge.server.fal.files import address, result_name
from bridge.server.fal.hosts import ENDPOINT, BaseURLs
from bridge.server.fal.pending import FalRequest

PIECE = 3 * 2**18
"""Bytes read at a time: whole groups of three, which base64 turns into four letters each."""

SIGN_OF_LIFE = 15.0
"""Seconds between two signs of life on a stream."""

Body = dict[str, Any]


def identified(request: FalRequest) -> dict[str, str]:
    """The header that tells a request's id."""
    return {"X-Fal-Request-Id": request.id}


def addresses(request: FalRequest, urls: BaseURLs) -> Body:
    """Where a request can be asked for, by a client that goes on with those URLs."""
    base = f"{urls.queue}/{ENDPOINT}/requests/{request.id}"
    return {
        "request_id": request.id,
        "response_url": base,
        "status_url": f"{base}/status",
        "cancel_url": f"{base}/cancel",
    }


def status(request: FalRequest, urls: BaseURLs, *, position: int, logs_from: int | None) -> Body:
    """A request's status, with its log from line `logs_from` on; None: without. position: how many jobs go first."""
    body = addresses(request, urls)
    if not request.over and request.job.state is State.QUEUED:
        return {"status": "IN_QUEUE", **body, "queue_position": position}
    body["logs"] = [] if logs_from is None else request.record.log[logs_from:]
    if not request.over:
        return {"status": "IN_PROGRESS", **body}
    report = request.job.report
    body["metrics"] = {"inference_time": report.get("seconds", 0)} if report else {}
    failure = request.failure
    if failure is not None:
        body.update(error=failure.sentence, error_type=failure.error_type)
    return {"status": "COMPLETED", **body}


def result(jobs: JobFiles, request: FalRequest, urls: BaseURLs) -> Response:
    """The result of a request that is over, or its failure."""
    failure = request.failure
    if failure is not None:
        return failure.response(identified(request))
    if len(request.record.images) != len(request.job.images or ()):  # the one or the other was damaged
        return of_error(LayersGone()).response(identified(request))
    if not request.record.sync:
        return json_response(output(request, urls), headers=identified(request))
    files = _files(jobs, request)
    if not all(path.is_file() for path, _ in files):
        return of_error(LayersGone()).response(identified(request))
    parts = _around_data(output(request, urls, marker := secrets.token_hex(16)), marker)
    length = sum(map(len, parts)) + sum(map(_encoded_length, files))
    headers = {**identified(request), "Content-Length": str(length)}
    return StreamingResponse(_with_data(parts, files), headers=headers, media_type="application/json")


def output(request: FalRequest, urls: BaseURLs, marker: str = "") -> Body:
    """The endpoint's output. marker: stands for each picture where it goes into the answer itself."""
    job, record, kind = request.job, request.record, _kind(request)
    saved, report = job.images or (), job.report or {}
    images: list[Body] = [
        {
            "url": marker or address(urls.media, name, result_name(number, kind)),
            "content_type": f"image/{kind}",
            "file_name": result_name(number, kind),
            "file_size": image.nbytes,
            "width": job.width,
            "height": job.height,
        }
        for number, (name, image) in enumerate(zip(record.images, saved, strict=False))
    ]
    told: Body = {
        "images": images,
        "timings": {"inference": report.get("draft_seconds", 0), "finish": report.get("finish_seconds", 0)},
        "seed": report.get("seed") if record.seed is None else record.seed,
        "has_nsfw_concepts": [image.unsafe for image in saved],
    }
    return {**told, "prompt": request.prompt} if request.prompt else told


def event(content: object) -> bytes:
    """One event of a stream."""
    return b"data: " + json.dumps(content).encode() + b"\n\n"


async def result_event(jobs: JobFiles, request: FalRequest, urls: BaseURLs) -> AsyncIterator[bytes]:
    """The result as one event of a stream, or its failure."""
    response = result(jobs, request, urls)
    yield b"data: "
    if isinstance(response, StreamingResponse):
        async for piece in response.body_iterator:
            yield piece if isinstance(piece, bytes) else str(piece).encode()
    else:
        yield bytes(response.body)
    yield b"\n\n"


def _kind(request: FalRequest) -> str:
    output = request.job.request.output
    return output.format if isinstance(output, LayerImages) else "png"  # the row that told it was damaged


def _files(jobs: JobFiles, request: FalRequest) -> list[tuple[Path, str]]:
    """A result's files, back to front, and what each data URI begins with."""
    folder, kind = jobs.folder(request.job.id), _kind(request)
    count = len(request.job.images or ())
    return [(image_path(folder, number, kind), f"data:image/{kind};base64,") for number in range(count)]


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
