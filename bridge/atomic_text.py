"""Writes a small text file so that a reader sees the whole new one or the whole old one.

Shared with the plugin, like protocol.py: standard library only, Python 3.9 and later. The bridge's own files/disk.py
cannot be shared: it raises the bridge's errors, which the plugin does not have.
"""

import os
import secrets
from pathlib import Path


def write_text(path: Path, text: str, mode: int = 0o666) -> None:
    """Write `text` as UTF-8 to `path` by renaming. mode: of the new file, less the user's umask. Raises OSError."""
    part = path.with_name(f".{path.name.lstrip('.')}.{secrets.token_hex(4)}")
    try:
        with open(part, "x", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(text)
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
