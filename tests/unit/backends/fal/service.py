"""A fal of our own on real sockets: good by itself, and as bad as a script says, which no good one can be made to be.

Started in a thread (`Service`), or as a process (`python -m tests.unit.backends.fal.service --help`). It is asked
at /queue, /rest, /media and /platform/v1, as one base URL of the bridge's preferences has it.
"""

import argparse
import asyncio
import io
import json
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Self

import numpy as np
import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

KEY = "test-key-0123456789abcdef"
ENDPOINT = "fal-ai/qwen-image-layered"


@dataclass
class Reply:
    """An answer out of its turn. done: the call is carried out all the same, and only its answer is this one."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    done: bool = False

    def response(self) -> Response:
        if isinstance(self.body, bytes):
            return Response(self.body, self.status, self.headers)
        return JSONResponse(self.body, self.status, self.headers)


@dataclass
class Order:
    """One request: what was sent, and how far it is."""

    id: str
    input: dict[str, Any]
    headers: dict[str, str]
    sent: float
    state: str = "IN_QUEUE"
    started: float | None = None
    ended: float | None = None
    code: int = 200
    answer: Any = None
    error_type: str = ""
    called_off: bool = False
    logs: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def move(self, state: str) -> None:
        self.state = state
        self.changed.set()
        self.changed = asyncio.Event()


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    return out.getvalue()


def bands(picture: bytes, count: int) -> list[bytes]:
    """An opaque ground and bands of the picture, `count` layers in all: laid over each other they are the picture."""
    view = np.array(Image.open(io.BytesIO(picture)).convert("RGBA"))
    back = np.empty_like(view)
    back[...] = view[:1, :1]
    back[..., 3] = 255
    layers = [back]
    for top, bottom in pairwise(np.linspace(0, len(view), count).astype(int)):
        layer = np.zeros_like(view)
        layer[top:bottom] = view[top:bottom]
        layers.append(layer)
    return [png(layer) for layer in layers]


class Fal:
    """The service itself. script: by call (initiate, put, submit, status, stream, result, cancel, listing, media), what
    it answers the next times instead. splitting: picture and number → layers. shape: what becomes of each answer."""

    def __init__(self, concurrency: int = 10, seconds: float = 0.0) -> None:
        self.concurrency = concurrency
        self.seconds = seconds
        self.script: dict[str, list[Reply]] = defaultdict(list)
        self.calls: list[tuple[str, dict[str, str]]] = []
        self.orders: dict[str, Order] = {}
        self.files: dict[str, bytes] = {}
        self.splitting: Callable[[bytes, int], list[bytes]] = bands
        self.shape: Callable[[dict[str, Any]], dict[str, Any]] = lambda answer: answer
        self.fails: Reply | None = None
        """What every request ends in; its status stands for it."""
        self.fails_as: str = ""
        self.keeps_inputs = False
        self.lists_early = False
        """Are requests listed before they have ended?"""
        self.most_waiting: int | None = None
        """Beyond so many in all, a new one is refused with 429."""
        self.lenient = False
        """May the key come where it is not needed? fal_client sends it along with uploads."""
        self._running = 0
        self._waiting: list[Order] = []
        self._tasks: set[asyncio.Future[None]] = set()

    def app(self) -> Starlette:
        request = f"/queue/{ENDPOINT}/requests/{{id}}"
        return Starlette(
            routes=[
                Route("/rest/storage/upload/initiate", self._call("initiate", self._initiate), methods=["POST"]),
                Route(
                    "/media/{name}", self._call("put", lambda request: self.put(request), keyed=False), methods=["PUT"]
                ),
                Route("/media/{name}", self._call("media", self._media, keyed=False), methods=["GET"]),
                Route(
                    f"/queue/{ENDPOINT}", self._call("submit", lambda request: self.submit(request)), methods=["POST"]
                ),
                Route(f"{request}/status", self._call("status", self._status)),
                Route(f"{request}/status/stream", self._call("stream", self._stream)),
                Route(f"{request}/cancel", self._call("cancel", self._cancel), methods=["PUT"]),
                Route(request, self._call("result", self._result)),
                Route("/platform/v1/models/requests/by-endpoint", self._call("listing", self._listing)),
            ]
        )

    def count(self, call: str) -> int:
        return sum(each == call for each, _ in self.calls)

    def _call(self, name: str, carry_out: Callable[[Request], Any], *, keyed: bool = True) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            self.calls.append((name, dict(request.headers)))
            assert keyed or self.lenient or "authorization" not in request.headers, (
                "the key went where it does not belong"
            )
            if keyed and request.headers.get("authorization") != f"Key {KEY}":
                return JSONResponse({"detail": "Cannot access application"}, 401)
            if self.script[name]:
                reply = self.script[name].pop(0)
                if reply.done:
                    await carry_out(request)
                return reply.response()
            return await carry_out(request)

        return answer

    async def _initiate(self, request: Request) -> Response:
        name = f"in-{secrets.token_hex(8)}.png"
        url = f"{request.base_url}media/{name}"
        return JSONResponse({"upload_url": f"{url}?signature=s3cr3t", "file_url": url})

    async def put(self, request: Request) -> Response:
        self.files[request.path_params["name"]] = await request.body()
        return Response()

    async def _media(self, request: Request) -> Response:
        data = self.files.get(request.path_params["name"])
        return Response(data, media_type="image/png") if data is not None else Response(status_code=404)

    async def submit(self, request: Request) -> Response:
        if self.most_waiting is not None and len(self._waiting) + self._running >= self.most_waiting:
            return JSONResponse({"detail": "Too many requests"}, 429, {"Retry-After": "0.3"})
        order = Order(secrets.token_hex(16), await request.json(), dict(request.headers), time.time())
        self.orders[order.id] = order
        self._waiting.append(order)
        self._take_on(str(request.base_url))
        return JSONResponse({"status": "IN_QUEUE", "request_id": order.id, **self._urls(request, order)})

    def _urls(self, request: Request, order: Order) -> dict[str, str]:
        base = f"{request.base_url}queue/{ENDPOINT}/requests/{order.id}"
        return {"response_url": base, "status_url": f"{base}/status", "cancel_url": f"{base}/cancel"}

    def _take_on(self, base: str) -> None:
        while self._waiting and self._running < self.concurrency:
            order = self._waiting.pop(0)
            self._running += 1
            order.started = time.time()
            order.move("IN_PROGRESS")
            task = asyncio.ensure_future(self._work(order, base))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    _tasks: set[asyncio.Future[None]] = set()  # noqa: RUF012

    async def _work(self, order: Order, base: str) -> None:
        try:
            ended = asyncio.get_running_loop().time() + self.seconds
            order.logs.append("  0%|          | 0/2 [00:00<?, ?it/s]")
            answer = None if self.fails is not None else await self._split(order, base)
            await asyncio.sleep(ended - asyncio.get_running_loop().time() - self.seconds / 2)
            order.logs.append(" 50%|█████     | 1/2 [00:01<00:01]")
            order.move(order.state)
            await asyncio.sleep(ended - asyncio.get_running_loop().time())
            if self.fails is not None:
                order.code, order.answer, order.error_type = self.fails.status, self.fails, self.fails_as
            else:
                order.answer = self.shape(answer or {})
        finally:
            order.ended = time.time()
            self._running -= 1
            order.move("COMPLETED")
            self._take_on(base)

    async def _split(self, order: Order, base: str) -> dict[str, Any]:
        url, count = order.input["image_url"], order.input["num_layers"]
        if url.startswith("data:"):
            import base64

            data = base64.b64decode(url.partition(",")[2])
        else:
            data = self.files[url.rpartition("/")[2]]
        images = []
        for layer in await asyncio.to_thread(self.splitting, data, count):
            name = f"out-{secrets.token_hex(8)}.png"
            self.files[name] = layer
            images.append({"url": f"{base}media/{name}", "content_type": "image/png", "file_name": name})
        return {
            "images": images,
            "timings": {"inference": self.seconds},
            "seed": order.input["seed"],
            "has_nsfw_concepts": [False] * len(images),
            "prompt": order.input.get("prompt", ""),
        }

    def _told(self, request: Request, order: Order, since: int = 0) -> dict[str, Any]:
        told: dict[str, Any] = {"status": order.state, "request_id": order.id, **self._urls(request, order)}
        if order.state == "IN_QUEUE":
            return {**told, "queue_position": self._waiting.index(order)}
        told["logs"] = [{"message": line, "level": "INFO", "timestamp": ""} for line in order.logs[since:]]
        if order.error_type:
            told |= {"error": "It failed.", "error_type": order.error_type}
        return told

    async def _status(self, request: Request) -> Response:
        order = self.orders.get(request.path_params["id"])
        if order is None:
            return JSONResponse({"detail": "Request not found"}, 404)
        return JSONResponse(self._told(request, order), 200 if order.state == "COMPLETED" else 202)

    async def _stream(self, request: Request) -> Response:
        order = self.orders.get(request.path_params["id"])
        if order is None:
            return JSONResponse({"detail": "Request not found"}, 404)

        async def events() -> AsyncIterator[str]:
            since = 0
            while True:
                changed = order.changed
                yield f"data: {json.dumps(self._told(request, order, since))}\n\n"
                since = len(order.logs)
                if order.state == "COMPLETED":
                    return
                with suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), 15)

        return StreamingResponse(events(), media_type="text/event-stream")

    async def _result(self, request: Request) -> Response:
        order = self.orders.get(request.path_params["id"])
        if order is None:
            return JSONResponse({"detail": "Request not found"}, 404)
        if order.state != "COMPLETED":
            return JSONResponse({"detail": "Request is still in progress"}, 400)
        return order.answer.response() if isinstance(order.answer, Reply) else JSONResponse(order.answer)

    async def _cancel(self, request: Request) -> Response:
        order = self.orders.get(request.path_params["id"])
        if order is None:
            return JSONResponse({"status": "NOT_FOUND"}, 404)
        if order.state == "COMPLETED":
            return JSONResponse({"status": "ALREADY_COMPLETED"}, 400)
        order.called_off = True
        if order in self._waiting:
            self._waiting.remove(order)
            order.code, order.error_type, order.ended = 499, "client_cancelled", time.time()
            order.answer = Reply(499, {"detail": "Cancelled", "error_type": "client_cancelled"})
            order.move("COMPLETED")
        return JSONResponse({"status": "CANCELLATION_REQUESTED"}, 202)

    async def _listing(self, request: Request) -> Response:
        start = datetime.fromisoformat(request.query_params["start"]).timestamp()
        listed = [order for order in self.orders.values() if order.sent >= start and (order.ended or self.lists_early)]
        page, size = int(request.query_params.get("cursor") or 0), int(request.query_params.get("limit") or 50)
        some = listed[page * size : (page + 1) * size]
        more = len(listed) > (page + 1) * size
        items = [self._listed(order) for order in some]
        return JSONResponse({"items": items, "has_more": more, "next_cursor": str(page + 1) if more else None})

    def _listed(self, order: Order) -> dict[str, Any]:
        def moment(seconds: float | None) -> str | None:
            return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()

        told = {"request_id": order.id, "endpoint_id": ENDPOINT, "sent_at": moment(order.sent)}
        told |= {"started_at": moment(order.started), "ended_at": moment(order.ended), "status_code": order.code}
        return {**told, "json_input": order.input} if self.keeps_inputs else told


class Service:
    """The service in a thread, at `url`."""

    def __init__(self, **options: Any) -> None:
        self.fal = Fal(**options)
        config = uvicorn.Config(self.fal.app(), host="127.0.0.1", port=0, log_level="error", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(5)

    @property
    def port(self) -> int:
        return self._server.servers[0].sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--concurrency", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=2.0)
    given = parser.parse_args()
    fal = Fal(given.concurrency, given.seconds)
    fal.lenient = True
    uvicorn.run(fal.app(), host="127.0.0.1", port=given.port, log_level="error", lifespan="off")


if __name__ == "__main__":
    main()
