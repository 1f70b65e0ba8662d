"""Where a stack is saved, and as what: the name's ending decides."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bridge.errors import UnflattenError

if TYPE_CHECKING:  # numpy is for workers: the command that asks for the file does without it
    from bridge.picture import Picture, Stack

Format = Literal["ora", "psd", "png"]


class CannotSave(UnflattenError):
    """The result cannot be saved where the user wants it."""

    code = "cannot_save"


def format_of(target: Path, *, folder: bool = False) -> Format:
    """The format that a name asks for. folder: it was given with a slash at its end. Raises CannotSave."""
    ending = target.suffix.lower()
    if folder or os.path.isdir(target) or not ending:
        return "png"
    if ending == ".ora":
        return "ora"
    if ending == ".psd":
        return "psd"
    raise CannotSave(
        f"Layers cannot be saved as “{ending}”.",
        "End the name in .ora or .psd, or in a slash for a folder of PNG files."
        + (" For .kra use Krita's own batch, kritarunner." if ending == ".kra" else ""),
    )


def check_target(target: Path, source: Path, *, force: bool) -> None:
    """Raise CannotSave where saving would fail or destroy something, before any work is done."""
    try:
        _check_target(target, source, force=force)
    except OSError as problem:  # a folder that may not be entered, a name that is too long
        raise CannotSave(f"{target} cannot be saved: {problem.strerror}.", "Choose another name or folder.") from None


def _check_target(target: Path, source: Path, *, force: bool) -> None:
    real = Path(os.path.realpath(target))  # a link is followed
    if not real.parent.is_dir():
        raise CannotSave(
            f"There is no folder {(real if target.is_symlink() else target).parent}.",
            "Make it first, or choose another.",
        )
    check_writable(real.parent)
    if not real.exists():
        return
    if real == Path(os.path.realpath(source)):
        raise CannotSave(f"{target.name} is the picture itself.", "Choose another name for its layers.")
    if real.is_dir():
        check_writable(real)
    empty = real.is_dir() and not any(real.iterdir())
    if not force and not empty:
        raise CannotSave(f"{target} is there already.", "Choose another name, or add --force to replace it.")


def check_writable(folder: Path) -> None:
    """Raise CannotSave where nothing can be written into `folder`. Only trying tells: permissions do not know all."""
    try:
        tempfile.TemporaryFile(dir=folder, prefix=".unflatten-").close()
    except OSError as problem:
        raise CannotSave(
            f"Nothing can be written to {folder}: {problem.strerror}.", "Choose a folder that you may write to."
        ) from None


def check_sheet(sheet: Path, source: Path, target: Path, *, force: bool) -> None:
    """The same for a contact sheet, which is a PNG and goes neither over the picture nor over its layers."""
    if sheet.suffix.lower() != ".png" or sheet.is_dir():
        raise CannotSave(f"A contact sheet cannot be saved as {sheet.name}.", "End its name in .png.")
    if sheet.resolve() == target.resolve():
        raise CannotSave("The contact sheet and the layers have the same name.", "Give them two.")
    check_target(sheet, source, force=force)


def save(stack: "Stack", picture: "Picture", target: Path, kind: Format) -> None:
    """Save `stack` as `target`, whole or not at all."""
    _writer(kind)(stack, picture, target)


def _writer(kind: Format) -> "Callable[[Stack, Picture, Path], None]":
    # Each brings a library of its own: only the one that is needed is loaded.
    if kind == "ora":
        from bridge.files.openraster import write_openraster

        return write_openraster
    if kind == "psd":
        from bridge.files.psd import write_psd

        return write_psd
    from bridge.files.png import write_folder

    return write_folder
