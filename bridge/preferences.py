"""What the user has decided once for this computer: a small JSON file in the data folder. A leaf."""

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from bridge.connection_file import data_dir
from bridge.errors import BadSettings
from bridge.urls import check_base_url

FILE = "preferences.json"
DEFAULT_BACKEND = "builtin"

BaseURL = Annotated[str, AfterValidator(lambda url: check_base_url(url) if url else "")]


class Preferences(BaseModel):
    """remote_allowed: may pictures leave this computer. backend: who splits where a client names nobody.

    fal_url: the one base of all that is fal's; the other three: of its queue, its storage and its platform, where they
    differ. wall_clock: seconds that a remote job may take.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    remote_allowed: bool = False
    backend: Annotated[str, Field(min_length=1, max_length=64)] = DEFAULT_BACKEND
    fal_url: BaseURL = ""
    fal_queue_url: BaseURL = ""
    fal_rest_url: BaseURL = ""
    fal_platform_url: BaseURL = ""
    wall_clock: Annotated[float, Field(ge=5, le=86_400)] = 600.0

    def named(self) -> dict[str, object]:
        """Each by its name on the command line."""
        return {name.replace("_", "-"): value for name, value in self.model_dump().items()}


_WANTED = {
    "remote_allowed": ("neither yes nor no", "Say yes or no."),
    "wall_clock": ("not a time that a remote job may take", "Give seconds, from 5 to 86400: 600, for example."),
    "backend": ("not a splitter’s name", "“unflatten doctor” lists them."),
}


def read(folder: Path | None = None) -> Preferences:
    """The preferences in `folder` (None: the data folder); what is not decided is as it comes. Raises BadSettings."""
    file = (folder or data_dir()) / FILE
    try:
        return Preferences.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return Preferences()
    except OSError as problem:
        raise BadSettings(
            f"Your preferences could not be read: {problem.strerror}.", f"Look at {file}; may you read it?"
        ) from None
    except (ValidationError, BadSettings):
        raise BadSettings(
            f"Your preferences in {file} are damaged.", "Mend that file, or delete it and set them again."
        ) from None


def change(name: str, text: str, folder: Path | None = None) -> Preferences:
    """Decide `name`, as the command line calls it, and keep that. Raises BadSettings; then nothing is changed."""
    field = name.replace("-", "_")
    if field not in Preferences.model_fields:
        raise BadSettings(
            f"There is nothing named “{name}” to set.", f"Choose one of: {', '.join(Preferences().named())}."
        )
    try:
        changed = Preferences.model_validate({**read(folder).model_dump(), field: text})
    except ValidationError:
        why, hint = _WANTED[field]
        raise BadSettings(f"“{text}” is {why}.", hint) from None
    _write(folder or data_dir(), changed)
    return changed


def _write(folder: Path, preferences: Preferences) -> None:
    part = folder / f".{FILE}.{secrets.token_hex(4)}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(part, "x", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(preferences.model_dump_json(indent=1) + "\n")
        os.replace(part, folder / FILE)
    except OSError as problem:
        with suppress(OSError):
            part.unlink()
        raise BadSettings(f"Your preferences could not be kept: {problem.strerror}.", f"Look at {folder}.") from None
