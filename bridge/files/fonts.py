"""A font for a layer's name: one of the system's that has all its letters, else the one that comes with Pillow."""

from functools import cache

from PIL import Image, ImageDraw, ImageFont
from PIL.ImageFont import FreeTypeFont

# Found by file name in the system's font folders; the first that can write a name is taken.
CANDIDATES = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "segoeui.ttf",
    "Helvetica.ttc",
    "Arial.ttf",
    "Arial Unicode.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "DroidSansFallbackFull.ttf",
    "wqy-zenhei.ttc",
    "YuGothM.ttc",
    "msgothic.ttc",
    "malgun.ttf",
    "msyh.ttc",
    "Hiragino Sans GB.ttc",
)
NOT_A_LETTER = "\uffff"
ELLIPSIS = "…"


def font_for(text: str, size: int) -> FreeTypeFont:
    """The first font that has every letter of `text`, or the one that has most of them."""
    fonts = _fonts(size)
    letters = {letter for letter in text if not letter.isspace()}
    return min(fonts, key=lambda font: sum(not _has(font, letter) for letter in letters))


def elide(text: str, width: int, font: FreeTypeFont) -> str:
    """`text` on one line, cut with an ellipsis where it is wider than `width` pixels."""
    line = " ".join(text.split())
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + ELLIPSIS) > width:
        line = line[:-1]
    return line.rstrip() + ELLIPSIS


@cache
def _fonts(size: int) -> list[FreeTypeFont]:
    found: list[FreeTypeFont] = []
    for name in CANDIDATES:
        try:
            found.append(ImageFont.truetype(name, size))
        except OSError:
            continue
    own = ImageFont.load_default(size)
    return [*found, own] if isinstance(own, FreeTypeFont) else found


@cache
def _has(font: FreeTypeFont, letter: str) -> bool:
    """Does the font draw the letter otherwise than what it draws for letters it lacks?"""
    return _drawn(font, letter) != _drawn(font, NOT_A_LETTER)


@cache
def _drawn(font: FreeTypeFont, letter: str) -> bytes:
    image = Image.new("L", (2 * round(font.size), 2 * round(font.size)))
    ImageDraw.Draw(image).text((0, 0), letter, 255, font)
    return image.tobytes()
