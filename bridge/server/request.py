"""What a client asks for, checked field by field before anything is taken or allocated for it."""

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from bridge import protocol
from bridge.errors import BadPicture, BadSettings
from bridge.jobs.journal import Entry
from bridge.jobs.spool import JOB_ID
from bridge.limits import check_picture
from bridge.settings import Settings

Message = dict[str, Any]

_MODELS = {"GRAYA": "greyscale", "CMYKA": "CMYK", "LABA": "L*a*b*", "XYZA": "XYZ", "YCbCrA": "YCbCr", "RGBA": "RGB"}
_DEPTHS = {"U8": "8-bit", "U16": "16-bit", "F16": "16-bit float", "F32": "32-bit float"}


@dataclass(frozen=True)
class Request:
    """A job as asked for, and how many frames of pixels follow."""

    entry: Entry
    chunks: int


def read_decompose(message: Message) -> Request:
    """The job that a `decompose` message asks for. Raises ProtocolError, BadPicture and BadSettings."""
    job, picture = read_job(message), message["picture"]
    if not isinstance(picture, dict):
        raise protocol.ProtocolError("The picture’s description is not readable.")
    width, height = read_size(picture)
    model, depth = picture.get("model", "RGBA"), picture.get("depth", "U8")
    if (model, depth) != ("RGBA", "U8") or picture.get("view_chunks"):
        kind = f"{_DEPTHS.get(depth, 'of an unknown depth')} {_MODELS.get(model, 'of an unknown colour model')}"
        raise BadPicture(
            f"This document is {kind}; this version of Unflatten splits 8-bit RGB documents.",
            "Make a copy, and change it with Image › Convert Image Color Space… to RGB/Alpha, 8-bit integer/channel.",
        )
    channels = picture.get("channels", "RGBA")
    if channels not in ("RGBA", "BGRA"):
        raise protocol.ProtocolError("The picture’s order of channels is not known.")
    settings = read_settings(message)
    entry = Entry(
        id=job,
        width=width,
        height=height,
        settings=settings,
        channels=channels,
        backend=read_backend(message),
        batch=message.get("batch") is True,
    )
    chunks = picture.get("chunks")
    least = protocol.chunk_count(entry.nbytes)
    # frames may be smaller than allowed, but each carries at least a row
    if type(chunks) is not int or not least <= chunks <= max(least, height):
        raise protocol.ProtocolError("The picture’s description and its number of pieces do not match.")
    return Request(entry, chunks)


def read_job(message: Message) -> str:
    job = message["job"]
    if not isinstance(job, str) or not JOB_ID.fullmatch(job):
        raise protocol.ProtocolError("A job’s number must be 32 hexadecimal digits.")
    return job


def read_size(message: Message) -> tuple[int, int]:
    """Width and height in pixels, within the limits. Raises ProtocolError and BadPicture."""
    width, height = message.get("width"), message.get("height")
    if type(width) is not int or type(height) is not int:
        raise protocol.ProtocolError("A picture’s width and height must be whole numbers.")
    check_picture(width, height)
    return width, height


def read_backend(message: Message) -> str | None:
    backend = message.get("backend")
    if backend is not None and (not isinstance(backend, str) or len(backend) > 64):
        raise protocol.ProtocolError("The backend’s name is not readable.")
    return backend or None


def read_settings(message: Message) -> dict[str, Any]:
    """The checked settings, defaults filled in. Raises BadSettings, without what was given: it may be a prompt."""
    given = message.get("settings") or {}
    try:
        return Settings.model_validate(given).model_dump()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
    raise BadSettings(f"The setting “{name}” cannot be used: {first['msg'][:1].lower()}{first['msg'][1:]}.")


def read_have(message: Message) -> set[int]:
    have = message.get("have", [])
    if not isinstance(have, list) or not all(type(each) is int for each in have):
        raise protocol.ProtocolError("The list of layers that are there is not readable.")
    return set(have)
