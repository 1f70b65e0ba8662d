"""Which files are taken as pictures, told by their first bytes and without any picture library."""

from pathlib import Path

from bridge.errors import BadPicture

TAKEN = "PNG, JPEG, WebP, GIF, AVIF, TIFF, BMP, PSD, PSB, ORA and KRA"
ENDINGS = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".gif", ".avif", ".tif", ".tiff"),
    *(".bmp", ".dib", ".psd", ".psb", ".ora", ".kra"),
)
START = 512
"""Bytes at a file's beginning by which its kind is told."""
IN_KRITA = "Open it in Krita and export it as PNG."

_TAKEN_STARTS = (
    *(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"8BPS\0\1", b"8BPS\0\2"),
    *(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
)
_ARCHIVES = (b"image/openraster", b"application/x-kr")
"""What ORA and KRA files call themselves in their first entry; Krita has written x-kra and x-krita."""
_AVIF = (b"avif", b"avis")
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)

_OTHER_STARTS = {
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\x76\x2f\x31\x01": "OpenEXR",
    b"%PDF": "PDF",
    b"gimp xcf": "GIMP (XCF)",
    b"#?RADIANCE": "Radiance HDR",
    b"\0\0\1\0": "icon (ICO)",
    b"qoif": "QOI",
    b"DDS ": "DDS",
    b"FUJIFILMCCD-RAW": "camera raw",
    b"IIU\0": "camera raw",
    b"IIRO": "camera raw",
    b"IIRS": "camera raw",
    b"MMOR": "camera raw",
}
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def check_is_file(path: Path) -> None:
    """Raise BadPicture where there is no file at `path`, or none that may be looked at."""
    try:
        there, is_file = path.exists(), path.is_file()
    except PermissionError:
        raise BadPicture(
            f"The folder {path.parent} may not be entered.", "Change its permissions, or copy the picture elsewhere."
        ) from None
    except OSError as problem:
        raise BadPicture(f"There is no such file: {problem.strerror}.", "Check the name and the folder.") from None
    if not there:
        raise BadPicture(f"There is no file {path}.", "Check the name and the folder.")
    if not is_file:
        raise BadPicture(f"{path} is not a file.", "Give a picture; for a whole folder of them use “unflatten batch”.")


def looks_like_picture(path: Path) -> bool:
    """Whether the file begins as a kind of picture that is taken, whatever its name; False where it cannot be read."""
    try:
        if not path.is_file():  # a pipe would wait for whoever writes into it
            return False
        with open(path, "rb") as file:
            start = file.read(START)
    except (OSError, ValueError):
        return False
    return begins_as_picture(start)


def begins_as_picture(start: bytes) -> bool:
    """Whether a file that begins with these bytes is of a kind that is taken."""
    if start.startswith(b"II*\0") and start[8:10] == b"CR":
        return False  # a camera's raw picture in TIFF's clothes
    if start.startswith(_TAKEN_STARTS):
        return True
    if start.startswith(b"PK\3\4"):
        return start[30:38] == b"mimetype" and start[38:].startswith(_ARCHIVES)
    if start[4:8] == b"ftyp":
        return bool(_brands(start) & set(_AVIF))
    if start.startswith(b"BM"):
        return int.from_bytes(start[14:18], "little") in _BMP_HEADERS
    if is_bare_bitmap(start):
        return True
    return start.startswith(b"RIFF") and start[8:12] == b"WEBP"


def is_bare_bitmap(start: bytes) -> bool:
    """Whether a file begins as a BMP without its file's header, as some programs write .dib."""
    size, planes, bits = (int.from_bytes(start[a:b], "little") for a, b in ((0, 4), (12, 14), (14, 16)))
    return size in (40, 108, 124) and planes == 1 and bits in (1, 4, 8, 16, 24, 32)


def check_kind(start: bytes, name: str) -> None:
    """Raise BadPicture, with the way out, where a file begins as a picture of a kind that is not taken."""
    kind = _other_kind(start)
    if kind is not None:
        raise BadPicture(f"{name} is of the kind {kind}, which is not taken here.", IN_KRITA)
    if start.startswith(b"CSFCHUNK"):
        raise BadPicture(
            f"{name} is of the kind CLIP, which is not taken here.", "Export it as PNG or PSD in Clip Studio Paint."
        )


def _other_kind(start: bytes) -> str | None:
    for beginning, kind in _OTHER_STARTS.items():
        if start.startswith(beginning):
            return kind
    if start.startswith(b"II*\0") and start[8:10] == b"CR":
        return "camera raw"
    if start[4:8] == b"ftyp":
        brands = _brands(start)
        if start[8:12] == b"crx ":
            return "camera raw"
        return "HEIC" if not brands & set(_AVIF) and brands & set(_HEIF) else None
    return "SVG" if b"<svg" in start or b"<!DOCTYPE svg" in start else None


def _brands(start: bytes) -> set[bytes]:
    """What a file in the boxes of MPEG-4 says that it is."""
    length = min(int.from_bytes(start[:4], "big"), len(start))
    return {start[8:12], *(start[at : at + 4] for at in range(16, length - 3, 4))}
