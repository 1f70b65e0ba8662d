"""Where bridge.backends.preferences was before; for importers that have not moved yet."""

from bridge.backends import registry
from bridge.backends.preferences import FILE, Preferences, change, listed, read

__all__ = ["DEFAULT_BACKEND", "FILE", "Preferences", "change", "listed", "read"]

DEFAULT_BACKEND = registry.default()
