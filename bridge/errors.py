"""What can go wrong, as sentences an artist understands: a leaf that every part of the bridge may import."""

from collections.abc import Mapping
from typing import Any, Literal

Kind = Literal["picture", "settings", "content", "no_layers", "service", "cancelled", "resources", "internal"]
"""What an error is about: the picture or the settings given, content that was refused, a picture in which nothing could
be told apart, a backend or its service, the user's own cancelling, memory or disk, or Unflatten itself."""


class UnflattenError(Exception):
    """An error with a code and a kind for programs, a sentence for the user and a hint that says what to do next.

    Raised where the fact is known, shown in one place each (command line, WebSocket, HTTP).
    """

    code = "internal"
    kind: Kind = "internal"
    retryable = False

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        code: str | None = None,
        retryable: bool | None = None,
        kind: Kind | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code
        if retryable is not None:
            self.retryable = retryable
        if kind is not None:
            self.kind = kind

    def as_dict(self) -> dict[str, Any]:
        """Its fields as plain values, for the store, the worker's pipe and the wire."""
        return {
            "code": self.code,
            "kind": self.kind,
            "message": self.message,
            "hint": self.hint,
            "retryable": self.retryable,
        }

    @staticmethod
    def from_dict(told: Mapping[str, Any]) -> "UnflattenError":
        """The error of such fields; others are ignored."""
        return UnflattenError(
            told["message"], told["hint"], code=told["code"], kind=told["kind"], retryable=told["retryable"]
        )


class BadPicture(UnflattenError):
    """The picture cannot be split as it is: empty, too large, damaged, or of a kind not taken."""

    code = "bad_picture"
    kind = "picture"


class BadSettings(UnflattenError):
    """A setting is out of its range or unknown."""

    code = "bad_settings"
    kind = "settings"


class NothingFound(UnflattenError):
    """The splitter could tell nothing apart: a single layer would only be a copy of the picture."""

    code = "nothing_found"
    kind = "no_layers"


class UselessDraft(UnflattenError):
    """What a model gave back cannot be made into layers of the picture."""

    code = "useless_draft"
    kind = "no_layers"


class BackendUnavailable(UnflattenError):
    """The chosen backend cannot run here; the hint says how to get it."""

    code = "backend_unavailable"
    kind = "service"


class Cancelled(UnflattenError):
    """The user cancelled the job."""

    code = "cancelled"
    kind = "cancelled"

    def __init__(self, message: str = "Cancelled.", hint: str = "", **fields: object) -> None:
        super().__init__(message, hint)


class OutOfSpace(UnflattenError):
    """The disk is full: nothing half-written is kept."""

    code = "disk_full"
    kind = "resources"
    retryable = True


class WorkerDied(UnflattenError):
    """The worker process ended in the middle of a job (out of memory, driver crash)."""

    code = "worker_died"
    kind = "resources"
    retryable = True


class WorkerKilled(WorkerDied):
    """Something outside ended the worker process: the system, when memory runs out, or somebody."""
