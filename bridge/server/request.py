"""What a client asks for, checked field by field before anything is taken or allocated for it."""

from dataclasses import dataclass
from typing import Any, cast

from pydantic import ValidationError

from bridge import protocol
from bridge.backends.choice import Choice, choose
from bridge.errors import BadPicture, BadSettings
from bridge.jobs.files import JOB_ID
from bridge.jobs.job import JobRequest, Model, RawLayers, RawPicture
from bridge.limits import check_picture
from bridge.settings import Settings

Message = dict[str, Any]

LONGEST_PROFILE = protocol.CHUNK
LARGEST_NUMBER = 2**53
"""Whole numbers beyond are not the same to everyone who reads JSON."""
LONGEST_NAME = 64
"""Characters of a backend's name, and of its options'."""


@dataclass(frozen=True)
class Decompose:
    """A job as it is asked for, its picture, who splits it, and how many frames of pixels follow."""

    request: JobRequest
    picture: RawPicture
    chosen: Choice
    chunks: int


def read_decompose(message: Message, client: str) -> Decompose:
    """The job that a `decompose` message asks for.

    Raises ProtocolError, BadPicture, BadSettings, and BackendUnavailable where its backend cannot run here.
    """
    job, picture = read_job(message), cast(Message, message["picture"])
    if not isinstance(message["picture"], dict):
        raise protocol.ProtocolError("The picture’s description is not readable.")
    model, depth = read_space(picture)
    width, height = read_size(picture, protocol.pixel_size(model, depth))
    channels = picture.get("channels", "RGBA")
    if channels not in ("RGBA", "BGRA") or (channels == "BGRA" and (model != "RGBA" or depth not in ("U8", "U16"))):
        raise protocol.ProtocolError("The picture’s order of channels is not known.")
    view_chunks, profile_bytes = picture.get("view_chunks", 0), picture.get("profile_bytes", 0)
    if type(view_chunks) is not int:
        raise protocol.ProtocolError("The number of pieces of the picture’s view must be a whole number.")
    if type(profile_bytes) is not int or not 0 <= profile_bytes <= LONGEST_PROFILE:
        raise protocol.ProtocolError("The picture’s colour profile is too large.")
    raw = RawPicture(width, height, model, depth, channels, bool(view_chunks), profile_bytes)
    if not raw.view and ((model, depth) != ("RGBA", "U8") or profile_bytes):
        raise protocol.ProtocolError("A picture that is not 8-bit sRGB must come with its view.")
    chunks = read_chunks(picture.get("chunks"), width * height * raw.pixel_size, height)
    if raw.view:
        chunks += read_chunks(view_chunks, width * height * 4, height)
    settings, chosen = read_settings(message), read_choice(message).check()
    batch = message.get("batch", False)
    if type(batch) is not bool:
        raise protocol.ProtocolError("Whether a picture belongs to a batch must be true or false.")
    request = JobRequest(job, client, raw, RawLayers(), chosen.name, settings, chosen.own, batch=batch)
    return Decompose(request, raw, chosen, chunks + (profile_bytes > 0))


def read_space(picture: Message) -> tuple[Model, str]:
    """The picture's colour model and depth. Raises ProtocolError and BadPicture."""
    model, depth = picture.get("model", "RGBA"), picture.get("depth", "U8")
    if not isinstance(model, str) or not isinstance(depth, str):
        raise protocol.ProtocolError("The picture’s colour model and depth must be names.")
    if model not in protocol.MODELS or depth not in protocol.DEPTHS:
        raise BadPicture(
            "This document is of a colour model that cannot be split.",
            "Make a copy, and change it with Image › Convert Image Color Space… to RGB/Alpha.",
        )
    return cast(Model, model), depth


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


def named_job(message: Message) -> str | None:
    """The job that a message is about, as far as it names one: its answer is about the same."""
    job = message.get("job")
    return job if isinstance(job, str) and JOB_ID.fullmatch(job) else None


def read_size(message: Message, pixel_size: int = 4) -> tuple[int, int]:
    """Width and height in pixels of so many bytes, within the limits. Raises ProtocolError and BadPicture."""
    width, height = message.get("width"), message.get("height")
    if type(width) is not int or type(height) is not int or max(abs(width), abs(height)) > LARGEST_NUMBER:
        raise protocol.ProtocolError("A picture’s width and height must be whole numbers.")
    check_picture(width, height, pixel_size)
    return width, height


def read_choice(message: Message) -> Choice:
    """Who is to split, with which options of its own. Raises ProtocolError, BackendUnavailable and BadSettings."""
    backend, options = message.get("backend"), message.get("options")
    if backend is not None and (not isinstance(backend, str) or len(backend) > LONGEST_NAME):
        raise protocol.ProtocolError("The backend’s name is not readable.")
    if options is not None and not isinstance(options, dict):
        raise protocol.ProtocolError("The backend’s options are not readable.")
    own = cast("Message | None", options)
    if any(len(name) > LONGEST_NAME for name in own or ()):
        raise protocol.ProtocolError("The name of one of the backend’s options is too long.")
    return choose(backend, own)


def read_settings(message: Message) -> Settings:
    """The checked settings, defaults filled in.

    Raises ProtocolError, and BadSettings without what was given: it may be a prompt.
    """
    given: object = message.get("settings")
    given = {} if given is None else given
    if not isinstance(given, dict):
        raise protocol.ProtocolError("The settings are not readable.")
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
    raise BadSettings(f"The setting “{name}” cannot be used: {first['msg'][:1].lower()}{first['msg'][1:]}.")


def read_have(message: Message) -> set[int]:
    have = cast("list[object]", message.get("have", []))
    if not isinstance(message.get("have", []), list) or not all(type(each) is int for each in have):
        raise protocol.ProtocolError("The list of layers that are there is not readable.")
    return set(cast("list[int]", have))
