"""A hub on this computer that speaks what huggingface_hub asks of one, serves folders, and fails where it shall."""

import hashlib
import json
import re
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = 10_000
"""Bytes from which a file is kept as a large one (LFS), with a sha256."""
COMMIT = "c0ffee" + "0" * 34


@dataclass
class Request:
    """One that it was asked: the first byte is where a download began."""

    method: str
    repository: str
    file: str
    first: int = 0
    token: str = ""


@dataclass
class Hub:
    """repositories: name → its folder. What else there is can be changed while it runs.

    cuts: a file's bytes at which the connection breaks, once each; falls: after that all is refused until `mend`.
    spoiled: files of which a byte differs from what is said of them. refused: the status of every answer. elsewhere:
    another server's address, that downloads are led to.
    """

    repositories: dict[str, Path]
    address: str = ""
    cuts: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    falls: bool = False
    spoiled: set[str] = field(default_factory=set[str])
    refused: int = 0
    elsewhere: str = ""
    asked: list[Request] = field(default_factory=list[Request])

    def mend(self) -> None:
        self.falls, self.refused = False, 0
        self.cuts.clear()
        self.asked.clear()

    def fetched(self) -> list[str]:
        """The files that were downloaded, wholly or partly."""
        return [f"{each.repository}/{each.file}" for each in self.asked if each.method == "GET" and each.file]


@contextmanager
def serving(repositories: dict[str, Path]) -> Generator[Hub]:
    """A hub that runs within the block."""
    hub = Hub(repositories)

    class Handler(Answering):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class Answering(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        listing = re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/[^/]+)?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path)
        found = listing or file
        first = int(re.findall(r"bytes=(\d+)-", self.headers.get("Range", "bytes=0-"))[0])
        token = self.headers.get("Authorization", "")
        name = file[2] if file else ""
        self.hub.asked.append(Request(self.command, found[1] if found else "", name, first, token))
        if self.hub.refused or not found or found[1] not in self.hub.repositories:
            self._plain(self.hub.refused or 404)
        elif listing:
            self._json(_listing(found[1], self.hub.repositories[found[1]]))
        elif not (self.hub.repositories[found[1]] / name).is_file():
            self._plain(404)
        else:
            self._file(name, (self.hub.repositories[found[1]] / name).read_bytes(), first, body)

    def _file(self, name: str, data: bytes, first: int, body: bool) -> None:
        etag = hashlib.sha256(data).hexdigest() if len(data) >= LARGE else _git_hash(data)
        headers = {"X-Repo-Commit": COMMIT, "X-Linked-Size": str(len(data)), "X-Linked-Etag": f'"{etag}"'}
        if self.hub.elsewhere and not body:
            self._send(302, {**headers, "Location": self.hub.elsewhere + self.path, "Content-Length": "0"})
            return
        if name in self.hub.spoiled:
            data = data[:-1] + bytes([data[-1] ^ 1])
        rest = data[first:]
        headers |= {"ETag": f'"{etag}"', "Content-Length": str(len(rest)), "Accept-Ranges": "bytes"}
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
        self._send(206 if first else 200, headers)
        if not body:
            return
        ahead = [cut for cut in self.hub.cuts.get(name, ()) if cut >= first]
        if ahead:
            rest = rest[: min(ahead) - first]
            self.hub.cuts[name].remove(min(ahead))
            self.hub.refused = 503 if self.hub.falls else 0
            self.close_connection = True
        self.wfile.write(rest)

    def _json(self, told: Any) -> None:
        data = json.dumps(told).encode()
        self._send(200, {"Content-Type": "application/json", "Content-Length": str(len(data))})
        self.wfile.write(data)

    def _plain(self, status: int) -> None:
        headers = {"Content-Length": "0"}
        if status == 404:
            headers["X-Error-Code"] = "RepoNotFound"
        if status == 403:
            headers["X-Error-Code"] = "GatedRepo"
        self._send(status, headers)

    def _send(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *words: Any) -> None:
        pass


def _listing(name: str, folder: Path) -> dict[str, Any]:
    files = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        file = {"rfilename": path.relative_to(folder).as_posix(), "size": len(data), "blobId": _git_hash(data)}
        if len(data) >= LARGE:
            file["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 132}
        files.append(file)
    return {"id": name, "modelId": name, "sha": COMMIT, "siblings": files, "tags": [], "private": False}


def _git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
