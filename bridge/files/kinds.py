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
