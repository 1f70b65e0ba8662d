"""What the artist set for the plugin itself, kept by Krita in its kritarc."""

from __future__ import annotations

from .krita_api import application

_GROUP = "unflatten"
_KEEP_ORIGINAL = "keepOriginalVisible"


def keeps_original() -> bool:
    """Whether the original layers show where a layer of the group is hidden."""
    return application().readSetting(_GROUP, _KEEP_ORIGINAL, "false") == "true"


def set_keeps_original(keep: bool) -> None:
    """Remember it."""
    application().writeSetting(_GROUP, _KEEP_ORIGINAL, "true" if keep else "false")
