"""Protocol 1 between plugin and bridge, shared by both: standard library only, Python 3.9 and later.

JSON text frames and binary frames over a WebSocket on 127.0.0.1; binary frames belong to the JSON frame before them,
whose `chunks` (and `view_chunks`) says how many follow, each at most CHUNK bytes. Unknown fields are ignored; unknown
types are an error.

Client → bridge
    hello {protocol, previews?}                              first frame; answered by welcome or error
    decompose {job, settings?, backend?, options?, batch?,
               picture: {width, height, model, depth, channels?, chunks, view_chunks?, profile_bytes?}}
               + pixels, the view's pixels, the profile, without waiting for an answer
    cancel {job} · attach {job, have?: [layer numbers]}
    backends {} · estimate {settings?, backend?, options?, width, height}
Bridge → client
    welcome {protocol} · backends {backends: [...]} · estimate {seconds, dollars}
    accepted {job, position}   the picture has arrived whole and is stored; position: how many pictures go first
    progress {job, stage, step, steps, seconds_left?}
    preview {job, layers, width, height} + one frame: what the layers look like so far, back to front, each of
                                             width × height pixels of RGBA; only for who said hello with previews: true
    stack {job, layers: [{name, kind, rect: [left, top, width, height]}]}    back to front
    layer {job, index, rect, chunks} + pixels in the picture's own model, depth and order of channels
    done {job, report: {...}} · error {job?, code, kind?, message, hint, retryable}

`job` is chosen by the client: 32 hexadecimal digits. `settings` has the names of bridge/settings.py; `backend` is the
one that the user prefers where it is left out, and `options` are that backend's own. What is wrong with any of these is
an error before a picture is taken, also in answer to `estimate`. `batch` true: pictures that someone waits for go
first. `attach` is answered by what the client lacks: progress, or stack, layers and done, or error. Pixels are rows top
to bottom, straight alpha last. `channels`: “RGBA”, or “BGRA” as Krita keeps 8-bit and 16-bit integer pixels, which the
bridge reorders far faster than the plugin could. `kind` of an error is what it is about, as in bridge/errors.py;
`retryable`: the same again may succeed.

`model` and `depth` are Krita's names (MODELS, DEPTHS). A document that is not 8-bit sRGB sends Krita's own 8-bit sRGB
view of itself, RGBA, in `view_chunks` frames after its pixels, and after that its ICC profile in one frame of
`profile_bytes`. Layers come in the document's own model and depth.
"""

import json
from collections.abc import Iterator
from typing import Any, Optional, cast

VERSION = 1
PATH = "/v1/session"
CHUNK = 8 * 2**20

MODELS = {"RGBA": 3, "GRAYA": 1, "CMYKA": 4, "LABA": 3, "XYZA": 3, "YCbCrA": 3}
"""Colour models, and their channels besides alpha."""
DEPTHS = {"U8": 1, "U16": 2, "F16": 2, "F32": 4}
"""Depths, and their bytes a channel."""

# type → the fields without which it means nothing
CLIENT_MESSAGES: dict[str, list[str]] = {
    "hello": ["protocol"],
    "decompose": ["job", "picture"],
    "cancel": ["job"],
    "attach": ["job"],
    "backends": [],
    "estimate": ["width", "height"],
}
SERVER_MESSAGES: dict[str, list[str]] = {
    "welcome": ["protocol"],
    "backends": ["backends"],
    "estimate": ["seconds", "dollars"],
    "accepted": ["job", "position"],
    "progress": ["job", "stage", "step", "steps"],
    "preview": ["job", "layers", "width", "height"],
    "stack": ["job", "layers"],
    "layer": ["job", "index", "rect", "chunks"],
    "done": ["job", "report"],
    "error": ["code", "message", "hint", "retryable"],
}


def pixel_size(model: str, depth: str) -> int:
    """Bytes of one pixel. Raises KeyError for what is not in MODELS and DEPTHS."""
    return (MODELS[model] + 1) * DEPTHS[depth]


class ProtocolError(ValueError):
    """A frame that is not of this protocol. The text is a sentence for the user."""


def encode(kind: str, /, **fields: Any) -> str:
    """One JSON text frame of type `kind`, in ASCII: half a character, which JSON can carry and UTF-8 cannot, may be in
    what is quoted."""
    return json.dumps({"type": kind, **fields}, separators=(",", ":"))


def decode(text: str, known: dict[str, list[str]]) -> dict[str, Any]:
    """The message in a text frame; `known` is CLIENT_MESSAGES or SERVER_MESSAGES. Raises ProtocolError."""
    try:
        loaded = json.loads(text)
    except (ValueError, RecursionError):
        raise ProtocolError("A message that is not JSON arrived.") from None
    return understood(loaded, known)


def understood(loaded: Any, known: dict[str, list[str]]) -> dict[str, Any]:
    """What a text frame says, once it is known to be a message. Raises ProtocolError."""
    message = cast("dict[str, Any]", loaded)
    if not isinstance(loaded, dict) or not isinstance(message.get("type"), str):
        raise ProtocolError("A message without a type arrived.")
    kind = message["type"]
    if kind not in known:
        raise ProtocolError(f"A message of an unknown type arrived: “{kind[:40]}”.")
    missing = [name for name in known[kind] if name not in message]
    if missing:
        raise ProtocolError(f"The message “{kind}” lacks {', '.join(missing)}.")
    return message


def chunk_count(length: int) -> int:
    """How many binary frames carry `length` bytes."""
    return -(-length // CHUNK)


def chunks(data: memoryview) -> Iterator[memoryview]:
    """`data` (flat bytes) in pieces of at most CHUNK bytes, without a copy."""
    for start in range(0, len(data), CHUNK):
        yield data[start : start + CHUNK]


def version_problem(theirs: object) -> Optional[str]:
    """Why the other side's protocol version does not fit, as a sentence for the user; None where it fits."""
    if theirs == VERSION:
        return None
    older, newer = ("plugin", "bridge")
    if isinstance(theirs, int) and theirs > VERSION:
        older, newer = newer, older
    return (
        f"The {older} is of an older Unflatten than the {newer} (protocol {theirs} meets {VERSION}). "
        "Run “python3 install.py” again, then restart Krita."
    )
