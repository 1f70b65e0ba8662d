"""What can go wrong, as sentences an artist understands: a leaf that every part of the bridge may import."""


class UnflattenError(Exception):
    """An error with a code for programs, a sentence for the user and a hint that says what to do next.

    Raised where the fact is known, shown in one place per door (command line, WebSocket, HTTP).
    """

    code = "internal"
    retryable = False

    def __init__(self, message: str, hint: str = "", *, code: str | None = None, retryable: bool | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code
        if retryable is not None:
            self.retryable = retryable

    def __reduce__(self) -> tuple[object, ...]:
        """Keep every field across processes: the default would lose the hint."""
        return _rebuild, (type(self), self.message, self.hint, self.code, self.retryable)


def _rebuild(kind: type[UnflattenError], message: str, hint: str, code: str, retryable: bool) -> UnflattenError:
    return kind(message, hint, code=code, retryable=retryable)


class BadPicture(UnflattenError):
    """The picture cannot be split as it is: empty, too large, damaged, or of a kind not taken."""

    code = "bad_picture"


class BadSettings(UnflattenError):
    """A setting is out of its range or unknown."""

    code = "bad_settings"


class NothingFound(UnflattenError):
    """The splitter could tell nothing apart: a single layer would only be a copy of the picture."""

    code = "nothing_found"


class UselessDraft(UnflattenError):
    """What a model gave back cannot be made into layers of the picture."""

    code = "useless_draft"


class BackendUnavailable(UnflattenError):
    """The chosen backend cannot run here; the hint says how to get it."""

    code = "backend_unavailable"


class Cancelled(UnflattenError):
    """The user cancelled the job."""

    code = "cancelled"

    def __init__(self, message: str = "Cancelled.", hint: str = "", **fields: object) -> None:
        super().__init__(message, hint)


class OutOfSpace(UnflattenError):
    """The disk is full: nothing half-written is kept."""

    code = "disk_full"
    retryable = True


class WorkerDied(UnflattenError):
    """The worker process ended in the middle of a job (out of memory, driver crash)."""

    code = "worker_died"
    retryable = True
