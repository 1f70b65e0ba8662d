"""Text: lines are read, cut out cleanly, and become the layers that a designer would have made."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from bridge.backends.builtin.text import TextLayer, find_text, merge_text
from bridge.errors import Cancelled

Rgb = NDArray[np.uint8]
Alpha = NDArray[np.floating[Any]]


@dataclass
class Page:
    """A picture in the making; `grounds` has it as it was before each line, `alphas` each line's true alpha."""

    pixels: NDArray[np.floating[Any]]

    def __post_init__(self) -> None:
        self.ground = self.pixels.copy()
        self.alphas: list[Alpha] = []

    @property
    def picture(self) -> Rgb:
        return np.rint(self.pixels).astype(np.uint8)

    def write(
        self, text: str, x: float, y: float, size: float, ink: object, *, angle: float = 0, shadow: float = 0
    ) -> "Page":
        """ink: a colour, or (h, w, 3) paint. shadow: the strength of a soft black one, in the same layer."""
        height, width = self.pixels.shape[:2]
        mask = Image.new("L", (width, height))
        ImageDraw.Draw(mask).text((x, y), text, font=ImageFont.load_default(size), fill=255)
        if angle:
            mask = mask.rotate(angle, Image.Resampling.BICUBIC, center=(x, y))
        alpha = np.asarray(mask, np.float32)[..., None] / 255
        colour = np.broadcast_to(np.asarray(ink, np.float32), self.pixels.shape)
        if shadow:
            soft = mask.filter(ImageFilter.GaussianBlur(size * 0.04))
            off = round(size * 0.05)
            dark = np.roll(np.asarray(soft, np.float32)[..., None] / 255 * shadow, (off, off), (0, 1))
            self.pixels = self.pixels * (1 - dark)
            self.alphas.append((alpha + dark * (1 - alpha))[..., 0])
        else:
            self.alphas.append(alpha[..., 0])
        self.pixels = self.pixels * (1 - alpha) + colour * alpha
        return self


def page(colour: object = (238, 226, 200), width: int = 560, height: int = 340) -> Page:
    return Page(np.broadcast_to(np.asarray(colour, np.float32), (height, width, 3)).copy())


def gradient(width: int = 560, height: int = 340) -> Page:
    along = np.linspace(0, 1, width, dtype=np.float32)[None, :, None] * np.ones((height, 1, 1), np.float32)
    return Page(np.asarray([40, 50, 120], np.float32) * (1 - along) + np.asarray([220, 110, 120], np.float32) * along)


def leaves(width: int = 560, height: int = 340, strength: float = 1.0) -> Page:
    """Blurred noise of two sizes: as busy as foliage."""
    noise = np.random.default_rng(3)
    out = np.zeros((height, width), np.float32)
    for blur, amount in ((2, 260), (9, 900)):
        grey = Image.fromarray(noise.normal(128, 60, (height, width)).clip(0, 255).astype(np.uint8))
        out += (np.asarray(grey.filter(ImageFilter.GaussianBlur(blur)), np.float32) / 255 - 0.5) * amount * strength
    return Page(
        np.clip(np.asarray([70, 120, 40], np.float32) + out[..., None] * np.asarray([0.8, 1, 0.6], np.float32), 0, 255)
    )


def canvas(layer: TextLayer, page: Page) -> Alpha:
    out = np.zeros(page.pixels.shape[:2], np.float32)
    out[layer.place()] = layer.alpha
    return out


def fits(layers: list[TextLayer], page: Page) -> list[float]:
    """For each line of the page, the soft IoU of the layer that fits it best."""
    found = [canvas(layer, page) for layer in layers]
    return [max((np.minimum(a, t).sum() / np.maximum(a, t).sum() for a in found), default=0.0) for t in page.alphas]


def words(layers: list[TextLayer]) -> list[str]:
    return ["".join(layer.text.split()) for layer in layers]


def test_each_line_becomes_a_layer_with_its_words_from_top_to_bottom() -> None:
    poster = page().write("SUMMER FEST", 40, 30, 70, (190, 40, 40)).write("by the lake", 45, 150, 42, (40, 60, 140))
    poster.write("14 July, 50% off", 45, 240, 30, (20, 20, 20))
    layers = find_text(poster.picture)
    assert words(layers) == ["SUMMERFEST", "bythelake", "14July,50%off"]
    assert min(fits(layers, poster)) > 0.97


def test_strokes_are_solid_the_ground_is_clear_and_counters_stay_open() -> None:
    poster = page().write("BOOK", 60, 80, 150, (30, 80, 60))
    (layer,) = find_text(poster.picture)
    found, true = canvas(layer, poster), poster.alphas[0]
    assert (found[true == 1] == 1).all()
    assert (found[true == 0] == 0).all()
    ys, xs = np.nonzero(true)
    middle = (ys.min() + ys.max()) // 2
    row = found[middle, xs.min() : xs.max()] > 0.5
    assert np.count_nonzero(np.diff(row.astype(int)) == -1) >= 6  # B, O, O, K: both sides of every counter


def test_ink_is_the_letters_own_colour_without_the_grounds_tint() -> None:
    poster = gradient().write("Moonlight", 60, 100, 90, (255, 250, 240))
    (layer,) = find_text(poster.picture)
    assert np.abs(layer.colour - np.asarray([255, 250, 240], np.float32)).max() < 3
    off = np.abs(layer.ink[layer.alpha > 0.2] - np.asarray([255, 250, 240], np.float32)).max(-1)
    assert np.percentile(off, 99) < 6


@pytest.mark.parametrize("scale", [1, 4])
def test_the_same_poster_gives_the_same_layers_at_any_size(scale: int) -> None:
    poster = gradient(560 * scale, 340 * scale)
    poster.write("Moonlight", 60 * scale, 50 * scale, 80 * scale, (255, 255, 255))
    poster.write("piano and strings", 60 * scale, 200 * scale, 36 * scale, (255, 230, 160))
    layers = find_text(poster.picture)
    assert words(layers) == ["Moonlight", "pianoandstrings"]
    assert min(fits(layers, poster)) > 0.97


def test_outside_the_hole_nothing_of_the_text_is_left() -> None:
    poster = gradient().write("Moonlight", 60, 60, 90, (255, 255, 255)).write("at nine", 60, 220, 40, (20, 10, 30))
    layers = find_text(poster.picture)
    hole = np.any([layer.hole(340, 560) for layer in layers], axis=0)
    left = np.abs(poster.picture.astype(int) - np.rint(poster.ground).astype(int)).max(-1)
    assert left[~hole].max() <= 1
    assert hole.mean() < 0.3


def test_a_title_across_a_sun_takes_no_sliver_of_it() -> None:
    poster = page((90, 170, 220))
    sky = Image.fromarray(poster.picture)
    ImageDraw.Draw(sky).ellipse([180, 20, 400, 240], fill=(255, 205, 70))
    poster = Page(np.asarray(sky, np.float32)).write("GOOD MORNING", 30, 90, 66, (255, 255, 255))
    layers = find_text(poster.picture)
    assert words(layers) == ["GOODMORNING"]
    assert fits(layers, poster)[0] > 0.97


def test_text_over_a_busy_photograph_is_cut_out_too() -> None:
    poster = (
        leaves().write("Wild fields", 50, 50, 80, (255, 255, 255)).write("from nine to five", 55, 200, 34, (20, 15, 10))
    )
    layers = find_text(poster.picture)
    assert words(layers) == ["Wildfields", "fromninetofive"]
    assert min(fits(layers, poster)) > 0.9


@pytest.mark.parametrize("angle", [20, -25, 90])
def test_tilted_and_upright_lines_are_lines(angle: float) -> None:
    x, y = {20: (120, 220), -25: (120, 60), 90: (150, 250)}[int(angle)]
    poster = page((30, 36, 46)).write("TILTED", x, y, 64, (250, 205, 60), angle=angle)
    layers = find_text(poster.picture)
    assert words(layers) == ["TILTED"]
    assert fits(layers, poster)[0] > 0.95


def test_letters_each_in_its_own_colour_are_one_line() -> None:
    paint = np.empty((340, 560, 3), np.float32)
    for i, colour in enumerate([(200, 40, 45), (30, 60, 150), (20, 130, 60), (150, 40, 140), (200, 120, 10)]):
        paint[:, 60 + 84 * i :] = colour
    poster = page().write("CANDY", 60, 100, 120, paint)
    layers = find_text(poster.picture)
    assert words(layers) == ["CANDY"]
    assert fits(layers, poster)[0] > 0.97


@pytest.mark.parametrize("make", [lambda: page((110, 170, 190)), leaves], ids=["even", "busy"])
def test_a_soft_shadow_goes_with_its_letters(make: Callable[[], Page]) -> None:
    poster = make().write("Floating", 60, 90, 110, (255, 255, 255), shadow=0.6)
    layers = find_text(poster.picture)
    assert words(layers) == ["Floating"]
    assert fits(layers, poster)[0] > 0.9


def test_a_picture_without_text_has_no_text_layers() -> None:
    shapes = Image.fromarray(leaves(strength=0.4).picture)
    pen = ImageDraw.Draw(shapes)
    for i in range(5):
        pen.ellipse([40 + 90 * i, 120, 90 + 90 * i, 170], outline=(240, 240, 240), width=8)
        pen.line([60 + 90 * i, 220, 60 + 90 * i, 300], fill=(10, 10, 10), width=8)
    assert find_text(np.asarray(shapes)) == []


@pytest.mark.parametrize("shape", [(16, 16), (20, 3000), (1, 1), (3000, 20)])
def test_slivers_and_specks_of_pictures_have_no_text(shape: tuple[int, int]) -> None:
    assert find_text(np.full((*shape, 3), 200, np.uint8)) == []


def test_small_print_on_an_object_stays_with_it_but_a_title_does_not() -> None:
    mug = Image.fromarray(page().picture)
    ImageDraw.Draw(mug).rectangle([250, 120, 530, 330], fill=(180, 40, 50))
    poster = Page(np.asarray(mug, np.float32)).write("MORNING", 30, 20, 76, (60, 40, 30))
    poster.write("Schwoo", 330, 215, 30, (240, 240, 240))
    stands_out = np.zeros((340, 560), np.float32)
    stands_out[120:330, 250:530] = 1
    assert words(find_text(poster.picture, protect=stands_out)) == ["MORNING"]
    assert words(find_text(poster.picture)) == ["MORNING", "Schwoo"]


def test_running_text_is_one_layer_and_a_two_line_title_is_two() -> None:
    leaflet = page((250, 250, 246)).write("OPEN", 40, 20, 56, (30, 60, 150)).write("HOUSE", 40, 84, 56, (30, 60, 150))
    for i, line in enumerate(
        [
            "The gallery is open from ten to six",
            "on every day but Monday. Children come",
            "in free, and so does everyone on Sunday.",
        ]
    ):
        leaflet.write(line, 40, 190 + 32 * i, 24, (20, 20, 20))
    layers = find_text(leaflet.picture)
    assert [len(layer.lines) for layer in layers] == [1, 1, 3]
    assert layers[2].text.startswith("The gallery is open") and layers[2].text.count("\n") == 2


def test_merging_puts_the_most_alike_together_first_and_loses_nothing() -> None:
    poster = page().write("TITLE", 40, 20, 90, (190, 40, 40))
    poster.write("first line", 40, 160, 34, (20, 20, 20)).write("second line", 40, 215, 34, (20, 20, 20))
    layers = find_text(poster.picture)
    two = merge_text(layers, 2)
    assert sorted(len(layer.lines) for layer in two) == [1, 2]
    assert {line.text for layer in two if len(layer.lines) == 2 for line in layer.lines} == {
        "first line",
        "second line",
    }
    (one,) = merge_text(layers, 1)
    apart = np.max([canvas(layer, poster) for layer in layers], axis=0)
    assert np.array_equal(canvas(one, poster), apart)
    assert merge_text(layers, 5) == layers


def test_the_same_picture_gives_the_same_bytes() -> None:
    picture = leaves().write("Wild fields", 50, 50, 80, (255, 255, 255)).picture
    first, second = find_text(picture), find_text(picture)
    assert [layer.alpha.tobytes() + layer.ink.tobytes() for layer in first] == [
        layer.alpha.tobytes() + layer.ink.tobytes() for layer in second
    ]


def test_a_cancelled_job_stops_between_steps() -> None:
    def cancelled() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        find_text(page().write("SUMMER", 40, 30, 70, (190, 40, 40)).picture, checkpoint=cancelled)
