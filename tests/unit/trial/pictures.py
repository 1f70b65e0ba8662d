"""A server of pictures over TLS, with an authority of its own: what stands for a public one."""

import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme


@dataclass
class Answer:
    """What is sent for a path. drip: seconds between two bytes; length: a Content-Length that may lie."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    drip: float = 0.0
    length: int | None = None


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that break off are part of the tests."""


class Pictures:
    """answers: by path. asked: the paths that were asked for, in order."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        authority = trustme.CA()
        self.authority = folder / "pictures-ca.pem"
        authority.cert_pem.write_to_path(self.authority)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*names).configure_cert(context)
        self._server = _Server(("127.0.0.1", 0), _handler(self._find))
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _find(self, path: str) -> Answer:
        self.asked.append(path)
        return self.answers.get(path, Answer(status=404))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(find: Callable[[str], Answer]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = find(self.path)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            length = len(answer.body) if answer.length is None else answer.length
            self.send_header("Content-Length", str(length))
            self.end_headers()
            if not answer.drip:
                self.wfile.write(answer.body)
                return
            for byte in answer.body:
                self.wfile.write(bytes([byte]))
                time.sleep(answer.drip)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
