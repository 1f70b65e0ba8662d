"""The bridge's routes, beside that of Krita's sessions."""

import asyncio
import json
import os
import time
from collections.abc import Callable, Sized
from typing import Any, TypedDict

from pydantic import TypeAdapter
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bridge import __version__, protocol
from bridge.errors import UnflattenError
from bridge.jobs.engine import Engine
from bridge.server import json_text
from bridge.server.fal_api import MOST_PORT, FalAPI, FalOptions

LONGEST_BODY = 2**16
"""Bytes of what comes with a request."""
BODY_PATIENCE = 10.0
"""Seconds until it is there."""


class Status(TypedDict):
    """What /v1/status tells. memory: bytes, by process (PSS where the system tells it); uptime: seconds."""

    version: str
    protocol: int
    pid: int
    uptime: float
    clients: int
    jobs: dict[str, int]
    worker: str
    memory: dict[str, int]
    fal_api: dict[str, Any]


def make_app(engine: Engine, sessions: Sized, fal_api: FalAPI, *, stop: Callable[[], None]) -> Starlette:
    """What is answered to requests. `stop` begins the bridge's orderly end."""
    began = time.monotonic()

    async def status(_: Request) -> Response:
        workers = {f"worker {number}": pid for number, pid in enumerate(engine.workers.pids, 1)}
        told: Status = {
            "version": __version__,
            "protocol": protocol.VERSION,
            "pid": os.getpid(),
            "uptime": round(time.monotonic() - began, 1),
            "clients": len(sessions),
            "jobs": engine.counts(),
            "worker": engine.workers.state,
            "fal_api": fal_api.described(),
            "memory": await asyncio.to_thread(_memory, {"bridge": os.getpid(), **workers}),
        }
        return JSONResponse(told)

    async def shut_down(_: Request) -> Response:
        stop()
        return JSONResponse({"message": "The bridge is stopping."}, status_code=202)

    async def open_fal_api(request: Request) -> Response:
        """GET: whether fal's API is open, and its key. POST {port?, backend?}: open it."""
        try:
            if request.method == "POST":
                await fal_api.open(_fal_options(await _body(request)))
        except UnflattenError as error:
            return JSONResponse({"code": error.code, "message": error.message, "hint": error.hint}, status_code=409)
        return JSONResponse({**fal_api.described(), "key": fal_api.key})

    async def nowhere(_: Request, __: Exception) -> Response:
        told = {"code": "not_found", "message": "There is nothing at this address.", "hint": ""}
        return JSONResponse(told, status_code=404)

    routes = [
        Route("/v1/status", status),
        Route("/v1/shutdown", shut_down, methods=["POST"]),
        Route("/v1/fal-api", open_fal_api, methods=["GET", "POST"]),
    ]
    return Starlette(routes=routes, exception_handlers={404: nowhere})


async def _body(request: Request) -> bytes:
    """What comes with a request. Raises UnflattenError where it is more than options are, or does not come whole."""
    body = b""
    try:
        async with asyncio.timeout(BODY_PATIENCE):
            async for piece in request.stream():
                body += piece
                if len(body) > LONGEST_BODY:
                    raise _unreadable()
    except (TimeoutError, ClientDisconnect):
        raise _unreadable() from None
    return body


def _fal_options(body: bytes) -> FalOptions:
    """How fal's API is to be opened. Raises UnflattenError."""
    try:
        told = json_text.read((body or b"{}").decode("utf-8"))
        options = TypeAdapter(FalOptions).validate_json(json.dumps(told), strict=True)
    except (ValueError, RecursionError):  # pydantic's errors are such, too
        raise _unreadable() from None
    if not 0 <= options.port <= MOST_PORT:
        raise _unreadable()
    return options


def _unreadable() -> UnflattenError:
    return UnflattenError("The options of fal's API cannot be read.", "Use “unflatten serve --fal”.", code="fal_api")


def _memory(processes: dict[str, int]) -> dict[str, int]:
    import psutil  # only when asked: an idle bridge does without it

    told: dict[str, int] = {}
    for name, pid in processes.items():
        try:
            info = psutil.Process(pid).memory_full_info()
        except psutil.Error:
            continue
        told[name] = getattr(info, "pss", 0) or info.rss
    return told
