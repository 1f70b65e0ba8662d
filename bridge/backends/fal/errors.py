"""What goes wrong at fal, or on the way there, as sentences for an artist: fal's codes in, errors out.

fal's own texts are never shown: they quote prompts and addresses, and are written for programmers.
"""

from collections.abc import Mapping
from typing import NamedTuple

from bridge.backends.base import RemoteError
from bridge.backends.fal import values
from bridge.errors import Kind
from bridge.settings import Settings

ABOUT_KEYS = "Copy it anew from fal.ai › Dashboard › Keys, then run “unflatten key set fal”."
AGAIN = "Your picture is unchanged. Try again."
LATER = "Your picture is unchanged. Try again in a few minutes."
FETCHED_LATER = (
    "It is not lost: split the same picture with the same settings again within the hour, and it is taken up where it "
    "is, without being paid for twice."
)
_KINDS: dict[str, Kind] = {"refused_content": "content", "bad_picture": "picture", "bad_settings": "settings"}
"""By an error's code, where it is not about the service itself."""


class _Row(NamedTuple):
    """retryable: whether the same may go well the next time."""

    code: str
    message: str
    hint: str
    retryable: bool


_TYPES: dict[str, _Row] = {
    "content_policy_violation": _Row(
        "refused_content",
        "fal refused the picture or the words with it: its safety checker takes them for what it does not do.",
        "Nothing was changed. Use other words, another picture, or the built-in splitter, which refuses nothing.",
        False,
    ),
    "image_too_small": _Row(
        "bad_picture",
        "The picture is too small for fal.",
        "Scale it up, or use the built-in splitter.",
        False,
    ),
    "image_too_large": _Row(
        "bad_picture",
        "The picture is too large for fal.",
        "Scale it down, or use the built-in splitter.",
        False,
    ),
    "file_too_large": _Row(
        "bad_picture",
        "The picture’s file is too large for fal.",
        "Scale it down, or use the built-in splitter.",
        False,
    ),
    "image_load_error": _Row("bad_picture", "fal could not open the picture that it was sent.", AGAIN, True),
    "file_download_error": _Row("bad_picture", "fal could not fetch the picture that it was sent.", AGAIN, True),
    "unsupported_image_format": _Row(
        "bad_picture",
        "fal does not take pictures of this kind.",
        "Use the built-in splitter for it, and run “python3 install.py”: a newer Unflatten may know better.",
        False,
    ),
    "feature_not_supported": _Row(
        "bad_settings",
        "fal cannot split with these settings together.",
        "Set them back to what they were at first.",
        False,
    ),
    "internal_server_error": _Row("fal_failed", "fal failed while splitting the picture.", LATER, True),
    "downstream_service_error": _Row("fal_failed", "A service that fal needs failed.", LATER, True),
    "downstream_service_unavailable": _Row(
        "fal_failed",
        "A service that fal needs is not there at the moment.",
        LATER,
        True,
    ),
    "generation_timeout": _Row(
        "fal_timeout",
        "fal took too long over the picture and gave up.",
        "Your picture is unchanged. Try again, with fewer layers or fewer steps.",
        True,
    ),
    "request_timeout": _Row(
        "fal_timeout",
        "fal did not come to the picture in time: too many others were before it.",
        LATER,
        True,
    ),
    "startup_timeout": _Row("fal_timeout", "fal did not get its machines started in time.", LATER, True),
    "runner_scheduling_failure": _Row("fal_busy", "fal has no machine free for the picture.", LATER, True),
    "runner_incomplete_response": _Row("fal_failed", "fal’s machine stopped in the middle of its answer.", LATER, True),
    "runner_server_error": _Row("fal_failed", "fal’s machine failed while splitting the picture.", LATER, True),
    "runner_disconnected": _Row("fal_failed", "fal lost the machine that split the picture.", LATER, True),
    "client_cancelled": _Row(
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
    400: _Row("bad_settings", "fal does not take the order as it was sent.", "Run “python3 install.py” again.", False),
    401: _Row("fal_key", "fal does not accept the key.", ABOUT_KEYS, False),
    402: _Row(
        "fal_balance", "Your account at fal has no money left.", "Top it up at fal.ai › Dashboard › Billing.", False
    ),
    403: _Row(
        "fal_key",
        "fal does not let this key split pictures.",
        "Make one that may use models at fal.ai › Dashboard › Keys, then run “unflatten key set fal”.",
        False,
    ),
    404: _Row(
        "fal_address",
        "At the address where fal should be, nobody splits pictures.",
        "“unflatten set” shows the addresses in use; set those that begin with fal- to nothing to use fal’s own.",
        False,
    ),
    413: _TYPES["file_too_large"],
    422: _Row(
        "bad_settings", "fal does not take the picture with these settings.", "Set them back as they were.", False
    ),
    429: _Row("fal_busy", "fal takes no more pictures from your account at the moment.", LATER, True),
    499: _TYPES["client_cancelled"],
    504: _TYPES["generation_timeout"],
}
_BALANCE = _Row(
    "fal_balance",
    "Your account at fal has no money left.",
    "Top it up at fal.ai › Dashboard › Billing, then try again. Your picture is unchanged.",
    False,
)
_LOCKED = _Row(
    "fal_locked",
    "fal has locked your account.",
    "fal.ai › Dashboard says why. The built-in splitter needs no account.",
    False,
)


def of_answer(status: int, headers: Mapping[str, str], body: bytes) -> RemoteError:
    """The error that an answer tells of, by its types and its status, never by its words but fal's “locked”."""
    told = values.parsed(body) or {}
    detail = told.get("detail")
    types = [str(told.get("error_type") or headers.get("x-fal-error-type") or "")]
    for each in values.objects_in(detail):
        type_ = str(each.get("type", ""))
        if type_ in _RANGES:
            return _out_of_range(type_, each.get("loc"))
        types.append(type_)
    if status == 403 and isinstance(detail, str) and "locked" in detail.lower():
        return _error(_BALANCE if "balance" in detail.lower() else _LOCKED)
    known = [_TYPES[type_] for type_ in types if type_ in _TYPES]
    if known:
        return _error(known[0])
    if status in _STATUSES:
        return _error(_STATUSES[status])
    if status >= 500:
        return _error(_TYPES["internal_server_error"])
    return _error(_STATUSES[400])


def failure(error_type: str) -> RemoteError:
    """The error that a request ended in whose answer tells nothing else."""
    return _error(_TYPES.get(error_type, _TYPES["internal_server_error"]))


def still_held(error: RemoteError) -> RemoteError:
    """The same for a request that goes on at fal, although we cannot ask after it for now."""
    return _error(_Row(error.code, error.message, f"{error.hint} {FETCHED_LATER}", True), holds=True)


def _out_of_range(type_: str, place: object) -> RemoteError:
    names = [str(part) for part in values.as_list(place) if part in Settings.model_fields]
    what = f"The setting “{names[-1]}” is" if names else "One of the settings is"
    message = f"{what} {_RANGES[type_]} for fal."
    return _error(_Row("bad_settings", message, "Set it back to what it was at first.", False))


def _error(row: _Row, *, holds: bool = False) -> RemoteError:
    error = RemoteError(row.message, row.hint, code=row.code, retryable=row.retryable, holds=holds)
    error.kind = _KINDS.get(row.code, "service")
    return error


# What no answer tells


def unreachable() -> RemoteError:
    """No connection could be made, and nothing was sent."""
    return _error(
        _Row(
            "connection",
            "fal could not be reached.",
            "Your picture is unchanged, and nothing was paid. Check the connection to the internet, then try again.",
            True,
        )
    )


def lost() -> RemoteError:
    """fal has the request, and does not answer any more."""
    message = "The connection to fal was lost while it had the picture."
    return _error(_Row("connection", message, FETCHED_LATER, True), holds=True)


def not_fetched() -> RemoteError:
    """The result is there, and does not arrive."""
    message = "fal has split the picture, but its layers could not be fetched."
    return _error(_Row("connection", message, FETCHED_LATER, True), holds=True)


def gone() -> RemoteError:
    """fal does not know the request, or not its layers, any more."""
    return _error(
        _Row(
            "gone",
            "fal no longer has the layers of this picture: it keeps them for about an hour.",
            "Your picture is unchanged. Start again; it will be sent and paid for anew.",
            False,
        )
    )


def bad_result(what: str) -> RemoteError:
    """What fal gave cannot be used. what: half a sentence that begins after “fal’s answer ”."""
    hint = "Your picture is unchanged. Try again, or with another seed."
    return _error(_Row("bad_result", f"fal’s answer {what}.", hint, False))


def blacked_out() -> RemoteError:
    """The safety checker made all layers black."""
    return _error(_TYPES["content_policy_violation"])


def unknown_fate() -> RemoteError:
    """It cannot be told whether fal took the picture, so that it is not sent again."""
    return _error(
        _Row(
            "unknown_fate",
            "Unflatten was stopped at the very moment it handed the picture to fal, and it cannot be told whether fal "
            "took it: so it was not sent again, which might have been paid for twice.",
            "Look at fal.ai › Dashboard › Requests. If nothing is there for that moment, nothing was paid: start "
            "again.",
            False,
        )
    )


def unreadable_handle() -> RemoteError:
    """What an earlier run wrote down makes no sense here."""
    return _error(
        _Row(
            "unknown_fate",
            "What was written down of this job at fal cannot be read.",
            "Look at fal.ai › Dashboard › Requests. If the picture is not there, start again.",
            False,
        )
    )
