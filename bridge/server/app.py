"""The bridge's doors: which address leads where."""

import asyncio
import os
import time
from collections.abc import Callable
from typing import TypedDict

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from bridge import __version__, protocol
from bridge.jobs.runner import Runner
from bridge.server.guard import Guard
from bridge.server.socket import Sessions


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


def make_app(runner: Runner, sessions: Sessions, *, token: str, port: int, stop: Callable[[], None]) -> ASGIApp:
    """The whole application, guarded. `stop` begins the bridge's orderly end."""
    began = time.monotonic()

    async def status(_: Request) -> Response:
        workshop = runner.workshop
        told: Status = {
            "version": __version__,
            "protocol": protocol.VERSION,
            "pid": os.getpid(),
            "uptime": round(time.monotonic() - began, 1),
            "clients": len(sessions),
            "jobs": runner.counts(),
            "worker": workshop.state,
            "memory": await asyncio.to_thread(_memory, {"bridge": os.getpid(), "worker": workshop.pid}),
        }
        return JSONResponse(told)

    async def shut_down(_: Request) -> Response:
        stop()
        return JSONResponse({"message": "The bridge is stopping."}, status_code=202)

    async def session(socket: WebSocket) -> None:
        await sessions.serve(socket)

    async def nowhere(_: Request, __: Exception) -> Response:
        told = {"code": "not_found", "message": "There is nothing at this address.", "hint": ""}
        return JSONResponse(told, status_code=404)

    routes = [
        Route("/v1/status", status),
        Route("/v1/shutdown", shut_down, methods=["POST"]),
        WebSocketRoute(protocol.PATH, session),
    ]
    return Guard(Starlette(routes=routes, exception_handlers={404: nowhere}), token=token, port=port)


def _memory(processes: dict[str, int | None]) -> dict[str, int]:
    import psutil  # only when asked: an idle bridge does without it

    told: dict[str, int] = {}
    for name, pid in processes.items():
        if pid is not None:
            try:
                info = psutil.Process(pid).memory_full_info()
            except psutil.Error:
                continue
            told[name] = getattr(info, "pss", 0) or info.rss
    return told
