"""A client's WebSocket frames, read as protocol.py describes them."""

from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from bridge import protocol
from bridge.server import json_text

LONGEST_TEXT = 2**18
"""Characters in one JSON frame: prompts fit many times over, and hundreds of jobs may wait with theirs."""

Message = dict[str, Any]


async def receive(socket: WebSocket) -> Message:
    """The next frame: {text} or {bytes}. Raises WebSocketDisconnect."""
    frame = await socket.receive()
    if frame["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(frame.get("code") or 1000)
    return {kind: frame[kind] for kind in ("text", "bytes") if frame.get(kind) is not None}


def decode(frame: Message) -> Message:
    """The message in a frame. Raises ProtocolError."""
    if "text" not in frame:
        raise protocol.ProtocolError("Pixels arrived where a message was expected.")
    if len(frame["text"]) > LONGEST_TEXT:
        raise protocol.ProtocolError("A message is too long.")
    try:
        told = json_text.read(frame["text"])
    except (ValueError, RecursionError):
        raise protocol.ProtocolError("A message that is not JSON arrived.") from None
    return protocol.understood(told, protocol.CLIENT_MESSAGES)
