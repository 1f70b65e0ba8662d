"""Opens bytes as a picture, or tells how they are refused."""

from pathlib import Path

import pytest

from bridge.errors import BadPicture
from bridge.files.load import load_picture
from bridge.picture import Picture


def opened(folder: Path, data: bytes, name: str = "a") -> Picture:
    (folder / name).write_bytes(data)
    return load_picture(folder / name)


def refused(folder: Path, data: bytes, said: str, name: str = "a") -> BadPicture:
    """The refusal, which is one line with a way out."""
    (folder / name).write_bytes(data)
    with pytest.raises(BadPicture, match=said) as caught:
        load_picture(folder / name)
    assert caught.value.hint
    assert "\n" not in caught.value.message + caught.value.hint
    return caught.value
