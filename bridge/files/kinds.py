"""Which files are taken as pictures, told without any picture library."""

from pathlib import Path

from bridge.errors import BadPicture

TAKEN = "PNG, JPEG, WebP, TIFF, BMP, PSD, ORA and KRA"
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".psd", ".ora", ".kra")


def check_is_file(path: Path) -> None:
    """Raise BadPicture where there is no file at `path`."""
    if not path.exists():
        raise BadPicture(f"There is no file {path}.", "Check the name and the folder.")
    if not path.is_file():
        raise BadPicture(f"{path} is not a file.", "Give a picture; for a whole folder of them use “unflatten batch”.")


def looks_like_picture(path: Path) -> bool:
    """Whether the file begins as one of the kinds that are taken does, whatever its name."""
    try:
        with path.open("rb") as file:
            return file.read(12).startswith((b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"II*\0", b"MM\0*", b"BM", b"8BPS"))
    except OSError:
        return False
