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

LONGEST_PROFILE = protocol.CHUNK


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
    model, depth = read_space(picture)
    width, height = read_size(picture, protocol.pixel_size(model, depth))
    channels = picture.get("channels", "RGBA")
    if channels not in ("RGBA", "BGRA") or (channels == "BGRA" and (model != "RGBA" or depth not in ("U8", "U16"))):
        raise protocol.ProtocolError("The picture’s order of channels is not known.")
    view_chunks, profile_bytes = picture.get("view_chunks", 0), picture.get("profile_bytes", 0)
    if type(profile_bytes) is not int or not 0 <= profile_bytes <= LONGEST_PROFILE:
        raise protocol.ProtocolError("The picture’s colour profile is too large.")
    entry = Entry(
        id=job,
        width=width,
        height=height,
        settings=read_settings(message),
        channels=channels,
        backend=read_backend(message),
        batch=message.get("batch") is True,
        model=model,
        depth=depth,
        view=bool(view_chunks),
        profile_bytes=profile_bytes,
    )
    if not entry.view and ((model, depth) != ("RGBA", "U8") or profile_bytes):
        raise protocol.ProtocolError("A picture that is not 8-bit sRGB must come with its view.")
    chunks = read_chunks(picture.get("chunks"), width * height * entry.pixel_size, height)
    if entry.view:
        chunks += read_chunks(view_chunks, width * height * 4, height)
    return Request(entry, chunks + (profile_bytes > 0))


def read_space(picture: Message) -> tuple[str, str]:
    """The picture's colour model and depth. Raises BadPicture."""
    model, depth = picture.get("model", "RGBA"), picture.get("depth", "U8")
    if model not in protocol.MODELS or depth not in protocol.DEPTHS:
        raise BadPicture(
            "This document is of a colour model that cannot be split.",
            "Make a copy, and change it with Image › Convert Image Color Space… to RGB/Alpha.",
        )
    return model, depth


def read_chunks(chunks: object, nbytes: int, height: int) -> int:
    """How many frames `nbytes` come in. Raises ProtocolError."""
    least = protocol.chunk_count(nbytes)
    # frames may be smaller than allowed, but each carries at least a row
    if type(chunks) is not int or not least <= chunks <= max(least, height):
        raise protocol.ProtocolError("The picture’s description and its number of pieces do not match.")
    return chunks


def read_job(message: Message) -> str:
    job = message["job"]
    if not isinstance(job, str) or not JOB_ID.fullmatch(job):
        raise protocol.ProtocolError("A job’s number must be 32 hexadecimal digits.")
    return job


def read_size(message: Message, pixel_size: int = 4) -> tuple[int, int]:
    """Width and height in pixels of so many bytes, within the limits. Raises ProtocolError and BadPicture."""
    width, height = message.get("width"), message.get("height")
    if type(width) is not int or type(height) is not int:
        raise protocol.ProtocolError("A picture’s width and height must be whole numbers.")
    check_picture(width, height, pixel_size)
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
