"""Whether an error is fit for an artist."""

from bridge.backends.base import RemoteError
from bridge.errors import UnflattenError
from tests.unit.backends.fal.service import KEY

JARGON = ("tensor", "payload", "traceback", "exception", "json", "http", "status", "mermaid", KEY)


def checked(error: UnflattenError) -> UnflattenError:
    """The error, if it is fit for an artist."""
    assert isinstance(error, RemoteError)
    kinds = {"refused_content": "content", "bad_picture": "picture", "bad_settings": "settings"}
    assert error.kind == kinds.get(error.code, "service")
    assert error.message.endswith(".") and error.hint.endswith("."), (error.message, error.hint)
    told = f"{error.message} {error.hint}".lower()
    assert not [word for word in JARGON if word in told], told
    return error
