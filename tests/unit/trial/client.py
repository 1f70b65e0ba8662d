"""A client of the bridge as protocol.py describes one, on the sync side of the websockets library."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np
from websockets.sync.client import ClientConnection, connect

from bridge import protocol
from bridge.connection_file import Connection

Message = dict[str, Any]
PATIENCE = 30.0


def new_job() -> str:
    return secrets.token_hex(16)


def noise(width: int, height: int, seed: int = 1) -> np.ndarray:
    """An opaque picture, (height, width, 4) uint8, no two rows alike."""
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 4), np.uint8)
    picture[..., 3] = 255
    return picture


@dataclass
class Result:
    """All that was told of one job, up to its end."""

    messages: list[Message] = field(default_factory=list)
    layers: dict[int, np.ndarray] = field(default_factory=dict)
    previews: list[np.ndarray] = field(default_factory=list)

    def last(self, kind: str) -> Message:
        return [message for message in self.messages if message["type"] == kind][-1]

    def kinds(self) -> list[str]:
        return [message["type"] for message in self.messages]


class Client:
    """A connection that has said hello."""

    def __init__(self, card: Connection, hello: Message | None = None, *, spoken: bool = True) -> None:
        self._pixels: tuple[Any, int] = np.uint8, 4
        options: dict[str, Any] = {"compression": None, "proxy": None, "ping_interval": None}
        self.socket: ClientConnection = connect(
            f"ws://127.0.0.1:{card.port}{protocol.PATH}",
            additional_headers={"Authorization": f"Bearer {card.token}"},
            max_size=protocol.CHUNK + 1024,
            **options,
        ).__enter__()
        if spoken:
            self.say("hello", **(hello or {"protocol": protocol.VERSION}))
            self.greeting = self.hear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def say(self, kind: str, **fields: Any) -> None:
        self.socket.send(protocol.encode(kind, **fields))

    def hear(self, patience: float = PATIENCE) -> Message:
        text = self.socket.recv(timeout=patience, decode=True)
        assert isinstance(text, str), "pixels where a message was expected"
        return protocol.decode(text, protocol.SERVER_MESSAGES)

    def ask(self, job: str, width: int, height: int, *, prompt: str = "", **fields: Any) -> None:
        """Send `decompose` without its pixels."""
        picture = {"width": width, "height": height, "model": "RGBA", "depth": "U8", "view_chunks": 0}
        picture["chunks"] = protocol.chunk_count(max(width * height * 4, 1))
        picture.update(fields.pop("about", {}))
        settings = {"prompt": prompt, **fields.pop("settings", {})}
        self.say("decompose", **{"job": job, "settings": settings, "backend": "trial", "picture": picture, **fields})

    def send_pixels(self, picture: np.ndarray) -> None:
        for piece in protocol.chunks(picture.data.cast("B")):
            self.socket.send(piece)

    def start(self, picture: np.ndarray, view: np.ndarray | None = None, profile: bytes = b"", **fields: Any) -> str:
        """Send a whole job; its number."""
        job = fields.pop("job", None) or new_job()
        about = {"chunks": protocol.chunk_count(picture.nbytes), "profile_bytes": len(profile)}
        if view is not None:
            about["view_chunks"] = protocol.chunk_count(view.nbytes)
        about.update(fields.pop("about", {}))
        self.ask(job, picture.shape[1], picture.shape[0], about=about, **fields)
        self._pixels = picture.dtype, picture.shape[2]
        self.send_pixels(picture)
        if view is not None:
            self.send_pixels(view)
        if profile:
            self.socket.send(profile)
        return job

    def follow(self, job: str, patience: float = PATIENCE) -> Iterator[tuple[Message, np.ndarray | None]]:
        """What is told of `job`, with a layer's pixels or a preview's, up to done or error."""
        while True:
            message = self.hear(patience)
            pixels = None
            if message["type"] == "layer":
                data = b"".join(self.socket.recv(timeout=patience, decode=False) for _ in range(message["chunks"]))
                _, _, width, height = message["rect"]
                dtype, count = self._pixels
                pixels = np.frombuffer(data, dtype).reshape(height, width, count)
            elif message["type"] == "preview":
                data = self.socket.recv(timeout=patience, decode=False)
                shape = message["layers"], message["height"], message["width"], 4
                pixels = np.frombuffer(data, np.uint8).reshape(shape)
            if message.get("job") == job:
                yield message, pixels
                if message["type"] in ("done", "error"):
                    return

    def finish(self, job: str, patience: float = PATIENCE) -> Result:
        result = Result()
        for message, pixels in self.follow(job, patience):
            result.messages.append(message)
            if pixels is not None and message["type"] == "preview":
                result.previews.append(pixels)
            elif pixels is not None:
                result.layers[message["index"]] = pixels
        return result

    def split(self, picture: np.ndarray, view: np.ndarray | None = None, profile: bytes = b"", **fields: Any) -> Result:
        return self.finish(self.start(picture, view, profile, **fields))
