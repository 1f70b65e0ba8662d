"""A bridge with fal's API open, and pictures to send to it."""

import base64
import io
import json
import struct
import urllib.request
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import httpx
import numpy as np
from PIL import Image

from tests.unit.trial.client import noise
from tests.unit.trial.running import Bridge, Starter, wait_for

KEY = "0123456789abcdef" * 4
ENDPOINT = "fal-ai/qwen-image-layered"
RUN, QUEUE, PLATFORM = f"/run/{ENDPOINT}", f"/queue/{ENDPOINT}", "/platform/v1/models/requests/by-endpoint"
PATIENCE = 30.0


@dataclass(frozen=True)
class Api:
    """An open one; told: what the bridge says of it."""

    bridge: Bridge
    told: dict[str, Any]

    @property
    def port(self) -> int:
        return self.told["port"]

    @property
    def url(self) -> str:
        return self.told["url"]

    @cached_property
    def http(self) -> httpx.Client:
        """Speaks plain HTTP with the API, with its key."""
        return httpx.Client(
            base_url=self.url, headers={"Authorization": f"Key {KEY}"}, trust_env=False, timeout=PATIENCE
        )

    def run(self, **given: Any) -> httpx.Response:
        headers = given.pop("headers", {})
        return self.http.post(RUN, json=arguments(**given), headers=headers)

    def submit(self, **given: Any) -> str:
        """The id of a request that waits in the queue."""
        headers = given.pop("headers", {})
        answer = self.http.post(QUEUE, json=arguments(**given), headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()["request_id"]

    def status(self, request: str) -> dict[str, Any]:
        return self.http.get(f"{QUEUE}/requests/{request}/status", params={"logs": 1}).json()

    def result(self, request: str) -> httpx.Response:
        return self.http.get(f"{QUEUE}/requests/{request}")

    def wait(self, request: str, status: str = "COMPLETED") -> dict[str, Any]:
        """The request's status once it is that."""

        def reached() -> dict[str, Any] | None:
            told = self.status(request)
            assert told["status"] != "COMPLETED" or status == "COMPLETED", told
            return told if told["status"] == status else None

        return wait_for(reached, PATIENCE)

    def listed(self, **query: Any) -> list[dict[str, Any]]:
        answer = self.http.get(PLATFORM, params={"endpoint_id": ENDPOINT, **query})
        assert answer.status_code == 200, answer.text
        return answer.json()["items"]


def open_api(start: Starter, *given: Any, **settings: Any) -> Api:
    """A bridge of our own with the API open. settings: as for the Starter."""
    fal = {"backend": "trial", **settings.pop("fal", {})}
    environment = {"UNFLATTEN_FAL_API_KEY": KEY, **settings.pop("environment", {})}
    bridge = start(*given, fal=fal, environment=environment, **settings)
    told = wait_for(lambda: (answer := ask(bridge)).get("open") and answer)
    return Api(bridge, told)


def ask(bridge: Bridge, asked: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the bridge tells of its API; with `asked`, opens it."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{bridge.card.port}/v1/fal-api",
        None if asked is None else json.dumps(asked).encode(),
        {"Authorization": f"Bearer {bridge.card.token}"},
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        return json.loads(answer.read())


def png(width: int = 32, height: int = 24, seed: int = 1) -> bytes:
    """A small picture, no two rows alike."""
    return saved(noise(width, height, seed), "PNG")


def huge(width: int = 60_000, height: int = 60_000) -> bytes:
    """A PNG of a few bytes that says it is so large, and keeps nothing of it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    pixels = zlib.compress(bytes(4096))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def saved(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert("RGB") if kind in ("JPEG", "BMP") else image).save(out, kind, **options)
    return out.getvalue()


def data_uri(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def arguments(**given: Any) -> dict[str, Any]:
    """An input for the endpoint: a small picture, and no safety checker, unless `given` says otherwise."""
    return {"image_url": data_uri(png()), "enable_safety_checker": False, **given}


def flattened(layers: list[np.ndarray]) -> np.ndarray:
    """(H, W, 4) uint8 RGBA layers, back to front, one over the other."""
    image = Image.fromarray(layers[0])
    for layer in layers[1:]:
        image.alpha_composite(Image.fromarray(layer))
    return np.asarray(image)
