"""A bridge whose answers a test writes itself: for what the real one never says."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.server import ServerConnection, serve

from bridge import protocol
from bridge.connection_file import Connection, remove_connection, write_connection

Answer = Callable[[ServerConnection, dict[str, Any]], None]
"""Called with each message after `hello`."""


@contextmanager
def answering(data: Path, answer: Answer) -> Iterator[list[dict[str, Any]]]:
    """Run such a bridge, found by its connection file in `data`; yields what it is sent, without the pixels."""
    heard: list[dict[str, Any]] = []

    def respond(socket: ServerConnection) -> None:
        for frame in socket:
            if isinstance(frame, bytes):
                continue
            message = json.loads(frame)
            heard.append(message)
            if message["type"] == "hello":
                socket.send(protocol.encode("welcome", protocol=protocol.VERSION))
            else:
                answer(socket, message)

    with serve(respond, "127.0.0.1", 0, compression=None) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        connection = Connection(server.socket.getsockname()[1], 1, "0" * 64, "0", 0.0)
        write_connection(data, connection)
        try:
            yield heard
        finally:
            remove_connection(data, connection)
            server.shutdown()
