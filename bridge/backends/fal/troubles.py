"""What goes wrong at fal, or on the way there, as sentences for an artist: fal's codes in, errors out.

fal's own texts are never shown: they quote prompts and addresses, and are written for programmers.
"""

import json
from collections.abc import Mapping
from typing import Any

from bridge.errors import Cancelled, UnflattenError
from bridge.settings import Settings

ABOUT_KEYS = "Copy it anew from fal.ai › Dashboard › Keys, then run “unflatten key set fal”."
AGAIN = "Your picture is unchanged. Try again."
LATER = "Your picture is unchanged. Try again in a few minutes."
FETCHED_LATER = (
    "It is not lost: split the same picture with the same settings again within the hour, and it is taken up where it "
    "is, without being paid for twice."
)


class Trouble(UnflattenError):
    """holds: fal may still hold the job's result, which a later try can fetch; else that try has to send it anew."""

    def __init__(
        self, code: str, message: str, hint: str = AGAIN, *, retryable: bool = False, holds: bool = False
    ) -> None:
        super().__init__(message, hint, code=code, retryable=retryable or holds)
        self.holds = holds

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.code, self.message, self.hint, self.retryable, self.holds)


def _rebuild(code: str, message: str, hint: str, retryable: bool, holds: bool) -> Trouble:
    return Trouble(code, message, hint, retryable=retryable, holds=holds)


_Row = tuple[str, str, str, bool]  # code, sentence, hint, whether the same may go well the next time

_TYPES: dict[str, _Row] = {
    "content_policy_violation": (
        "refused_content",
        "fal refused the picture or the words with it: its safety checker takes them for what it does not do.",
        "Nothing was changed. Use other words, another picture, or the built-in splitter, which refuses nothing.",
        False,
    ),
    "image_too_small": (
        "bad_picture",
        "The picture is too small for fal.",
        "Scale it up, or use the built-in splitter.",
        False,
    ),
    "image_too_large": (
        "bad_picture",
        "The picture is too large for fal.",
        "Scale it down, or use the built-in splitter.",
        False,
    ),
    "file_too_large": (
        "bad_picture",
        "The picture’s file is too large for fal.",
        "Scale it down, or use the built-in splitter.",
        False,
    ),
    "image_load_error": ("bad_picture", "fal could not open the picture that it was sent.", AGAIN, True),
    "file_download_error": ("bad_picture", "fal could not fetch the picture that it was sent.", AGAIN, True),
    "unsupported_image_format": (
        "bad_picture",
        "fal does not take pictures of this kind.",
        "Use the built-in splitter for it, and run “python3 install.py”: a newer Unflatten may know better.",
        False,
    ),
    "feature_not_supported": (
        "bad_settings",
        "fal cannot split with these settings together.",
        "Set them back to what they were at first.",
        False,
    ),
    "internal_server_error": ("fal_failed", "fal failed while splitting the picture.", LATER, True),
    "downstream_service_error": ("fal_failed", "A service that fal needs failed.", LATER, True),
    "downstream_service_unavailable": (
        "fal_failed",
        "A service that fal needs is not there at the moment.",
        LATER,
        True,
    ),
    "generation_timeout": (
        "fal_timeout",
        "fal took too long over the picture and gave up.",
        "Your picture is unchanged. Try again, with fewer layers or fewer steps.",
        True,
    ),
    "request_timeout": (
        "fal_timeout",
        "fal did not come to the picture in time: too many others were before it.",
        LATER,
        True,
    ),
    "startup_timeout": ("fal_timeout", "fal did not get its machines started in time.", LATER, True),
    "runner_scheduling_failure": ("fal_busy", "fal has no machine free for the picture.", LATER, True),
    "runner_incomplete_response": ("fal_failed", "fal’s machine stopped in the middle of its answer.", LATER, True),
    "runner_server_error": ("fal_failed", "fal’s machine failed while splitting the picture.", LATER, True),
    "runner_disconnected": ("fal_failed", "fal lost the machine that split the picture.", LATER, True),
    "client_cancelled": (
        "called_off",
        "The picture was called off at fal.",
        "Start again, if you want it split.",
        True,
    ),
}
_RANGES = {
    "greater_than": "too small a number",
    "greater_than_equal": "too small a number",
    "less_than": "too large a number",
    "less_than_equal": "too large a number",
    "one_of": "something that it does not know",
}
_STATUSES: dict[int, _Row] = {
    400: ("bad_settings", "fal does not take the order as it was sent.", "Run “python3 install.py” again.", False),
    401: ("fal_key", "fal does not accept the key.", ABOUT_KEYS, False),
    402: ("fal_balance", "Your account at fal has no money left.", "Top it up at fal.ai › Dashboard › Billing.", False),
    403: (
        "fal_key",
        "fal does not let this key split pictures.",
        "Make one that may use models at fal.ai › Dashboard › Keys, then run “unflatten key set fal”.",
        False,
    ),
    404: (
        "fal_address",
        "At the address where fal should be, nobody splits pictures.",
        "“unflatten set” shows the addresses in use; set those that begin with fal- to nothing to use fal’s own.",
        False,
    ),
    413: _TYPES["file_too_large"],
    422: ("bad_settings", "fal does not take the picture with these settings.", "Set them back as they were.", False),
    429: ("fal_busy", "fal takes no more pictures from your account at the moment.", LATER, True),
    499: _TYPES["client_cancelled"],
    504: _TYPES["generation_timeout"],
}
_BALANCE: _Row = (
    "fal_balance",
    "Your account at fal has no money left.",
    "Top it up at fal.ai › Dashboard › Billing, then try again. Your picture is unchanged.",
    False,
)
_LOCKED: _Row = (
    "fal_locked",
    "fal has locked your account.",
    "fal.ai › Dashboard says why. The built-in splitter needs no account.",
    False,
)


def trouble_of(status: int, headers: Mapping[str, str], body: bytes) -> Trouble:
    """The trouble that an answer tells of, by its types and its status, never by its words but fal's “locked”."""
    told = _json(body)
    detail: Any = told.get("detail")
    kinds = [str(told.get("error_type") or headers.get("x-fal-error-type") or "")]
    if isinstance(detail, list):
        for each in (each for each in detail if isinstance(each, dict)):
            kind = str(each.get("type", ""))
            if kind in _RANGES:
                return _out_of_range(kind, each.get("loc"))
            kinds.append(kind)
    if status == 403 and isinstance(detail, str) and "locked" in detail.lower():
        return _trouble(_BALANCE if "balance" in detail.lower() else _LOCKED)
    known = [_TYPES[kind] for kind in kinds if kind in _TYPES]
    if known:
        return _trouble(known[0])
    if status in _STATUSES:
        return _trouble(_STATUSES[status])
    if status >= 500:
        return _trouble(_TYPES["internal_server_error"])
    return _trouble(_STATUSES[400])


def failure(error_type: str) -> Trouble:
    """The trouble with which a request ended whose answer tells nothing else."""
    return _trouble(_TYPES.get(error_type, _TYPES["internal_server_error"]))


def _out_of_range(kind: str, place: object) -> Trouble:
    names = [str(part) for part in place if part in Settings.model_fields] if isinstance(place, list) else []
    what = f"The setting “{names[-1]}” is" if names else "One of the settings is"
    return Trouble("bad_settings", f"{what} {_RANGES[kind]} for fal.", "Set it back to what it was at first.")


def _trouble(row: _Row) -> Trouble:
    code, message, hint, retryable = row
    return Trouble(code, message, hint, retryable=retryable)


def _json(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


# What no answer tells


def unreachable() -> Trouble:
    return Trouble(
        "connection",
        "fal could not be reached.",
        "Your picture is unchanged, and nothing was paid. Check the connection to the internet, then try again.",
        retryable=True,
    )


def lost() -> Trouble:
    return Trouble("connection", "The connection to fal was lost while it had the picture.", FETCHED_LATER, holds=True)


def not_fetched() -> Trouble:
    return Trouble(
        "connection", "fal has split the picture, but its layers could not be fetched.", FETCHED_LATER, holds=True
    )


def gone() -> Trouble:
    return Trouble(
        "gone",
        "fal no longer has the layers of this picture: it keeps them for about an hour.",
        "Your picture is unchanged. Start again; it will be sent and paid for anew.",
    )


def bad_result(what: str) -> Trouble:
    """what: half a sentence that begins after “fal’s answer ”."""
    return Trouble("bad_result", f"fal’s answer {what}.", "Your picture is unchanged. Try again, or with another seed.")


def blacked_out() -> Trouble:
    code, message, hint, _ = _TYPES["content_policy_violation"]
    return Trouble(code, message, hint)


def unknown_fate() -> Trouble:
    return Trouble(
        "unknown_fate",
        "Unflatten was stopped at the very moment it handed the picture to fal, and it cannot be told whether fal took "
        "it: so it was not sent again, which might have been paid for twice.",
        "Look at fal.ai › Dashboard › Requests. If nothing is there for that moment, nothing was paid: start again.",
    )


def overtime(seconds: float, fate: str) -> Trouble:
    """fate: as `queue.call_off` tells it; empty where fal never had the picture."""
    many = f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
    if not fate:
        return Trouble(
            "overtime",
            f"fal had not taken the picture after {many}.",
            "Your picture is unchanged, and nothing was paid. Try again later.",
            retryable=True,
        )
    told = {
        "removed": f"fal had not begun with the picture after {many}: it was called off, and nothing is paid.",
        "begun": f"fal was not done after {many}: it was asked to stop. It may go on, and charge for it.",
        "asked": f"fal was not done after {many}: it was asked to stop. If it had begun, it may charge for it.",
        "done": f"fal was done, but its layers did not arrive within {many}.",
        "unknown": f"fal was not done after {many}, and could not be asked to stop. It may go on, and charge for it.",
    }[fate]
    return Trouble("overtime", told, LATER if fate == "removed" else FETCHED_LATER, holds=True)


def cancelled(fate: str) -> Cancelled:
    """fate: as `queue.call_off` tells it; empty where fal never had the picture."""
    told = {
        "": ("Cancelled.", ""),
        "removed": ("Cancelled.", "fal had not begun: nothing is paid."),
        "asked": ("Cancelled.", "fal was asked to stop. If it had begun, it may go on, and charge for it."),
        "begun": (
            "Cancelled.",
            "fal had begun, and was asked to stop. It may go on, and charge for it; if you split the same picture "
            "again soon, that result is used.",
        ),
        "done": (
            "Cancelled.",
            "fal was done already, and charges for it. If you split the same picture again soon, that result is used.",
        ),
        "unknown": ("Cancelled.", "fal could not be asked to stop. It may go on, and charge for it."),
    }[fate]
    return Cancelled(*told)
