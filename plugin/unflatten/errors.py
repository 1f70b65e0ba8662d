"""What can go wrong, as sentences an artist understands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class UnflattenError(Exception):
    """A sentence for the artist and a hint that says what to do next.

    code, kind: for programs, as in the protocol's `error`; empty where the plugin itself found what is wrong.
    """

    def __init__(self, message: str, hint: str = "", code: str = "", kind: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
        self.kind = kind

    @staticmethod
    def from_message(message: Mapping[str, Any]) -> UnflattenError:
        """The error that the protocol's message `error` tells."""
        code, kind = str(message["code"]), str(message.get("kind", ""))
        return UnflattenError(str(message["message"]), str(message["hint"]), code, kind)


class Stopped(Exception):
    """Nobody waits for the answer any more."""
