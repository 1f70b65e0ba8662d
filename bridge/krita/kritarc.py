"""Turns the plugin on in Krita's settings file, and off again, leaving every other byte of it as it was."""

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

KEY = b"enable_unflatten"
ON = KEY + b"=true"
_GROUP = re.compile(rb"^\[python\][ \t]*\r?$", re.MULTILINE)
_NEXT_GROUP = re.compile(rb"^\[", re.MULTILINE)
_ENTRY = re.compile(rb"^" + KEY + rb"[ \t]*=[ \t]*([^\r\n]*)(\r?\n|\Z)", re.MULTILINE)


def state(settings: bytes) -> Optional[bool]:
    """Is the plugin on? None where the settings say nothing, which Krita takes for off."""
    found = _entry(settings)
    return None if found is None else found.group(1).strip().lower() == b"true"


def enable(settings: bytes) -> tuple[bytes, "Change"]:
    """The settings with the plugin on, and what was changed for that."""
    found = _entry(settings)
    if found:
        return settings[: found.start()] + ON + found.group(2) + settings[found.end() :], Change(was=found.group(0))
    newline = b"\r\n" if b"\r\n" in settings else b"\n"
    span = _span(settings)
    place = span[0] if span else len(settings)
    added = ON + newline if span else (newline if settings else b"") + b"[python]" + newline + ON + newline
    if place and not settings[:place].endswith(b"\n"):
        added = newline + added
    return settings[:place] + added + settings[place:], Change(added=added)


def undo(settings: bytes, change: "Change") -> bytes:
    """The settings as before `change`: to the byte, or, where Krita has sorted them anew since, without our entry."""
    found = _entry(settings)
    if not found:
        return settings
    if change.was is not None:
        return settings[: found.start()] + change.was + settings[found.end() :]
    rest = settings[: found.start()] + settings[found.end() :]
    span = _span(rest)
    assert span is not None
    if b"[python]" in change.added and rest[span[0] : span[1]].strip():
        # Other plugins were turned on since in the group that we made: it stays.
        return rest
    if settings.count(change.added) == 1:
        return settings.replace(change.added, b"")
    header = _GROUP.search(rest)
    assert header is not None
    return rest[: header.start()] + rest[span[1] :] if b"[python]" in change.added else rest


@dataclass(frozen=True)
class Change:
    """What `enable` did. was: the entry that stood there; added: the bytes that were put in, where none did."""

    was: Optional[bytes] = None
    added: bytes = b""


def read(file: Path) -> Optional[bytes]:
    """The file's bytes, or None where there is none."""
    return file.read_bytes() if file.exists() else None


def write(file: Path, settings: bytes) -> None:
    """Replace the file in one step, keeping its mode; where it is a link, what it leads to is replaced."""
    file = file.resolve()
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=".kritarc-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(settings)
        os.chmod(name, file.stat().st_mode & 0o7777 if file.exists() else 0o600)
        os.replace(name, file)
    except BaseException:
        os.unlink(name)
        raise


def _span(settings: bytes) -> Optional[tuple[int, int]]:
    """Where the entries of [python] begin and end, or None where there is no such group."""
    header = _GROUP.search(settings)
    if not header:
        return None
    start = min(header.end() + 1, len(settings))
    following = _NEXT_GROUP.search(settings, start)
    return start, following.start() if following else len(settings)


def _entry(settings: bytes) -> "Optional[re.Match[bytes]]":
    span = _span(settings)
    return _ENTRY.search(settings, span[0], span[1]) if span else None
