"""Values of JSON that comes from outside: what is not of the kind that is looked for counts as not there."""

import json
from typing import cast

Object = dict[str, object]


def parsed(text: bytes) -> Object | None:
    """The JSON object that `text` is; None where it is none."""
    try:
        told: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return cast(Object, told) if isinstance(told, dict) else None


def as_object(value: object) -> Object:
    """The object that `value` is, or an empty one."""
    return cast(Object, value) if isinstance(value, dict) else {}


def as_list(value: object) -> list[object]:
    """The list that `value` is, or an empty one."""
    return cast(list[object], value) if isinstance(value, list) else []


def objects_in(value: object) -> list[Object]:
    """The objects in the list that `value` is."""
    return [cast(Object, each) for each in as_list(value) if isinstance(each, dict)]


def as_text(value: object) -> str:
    """The text that `value` is, or an empty one."""
    return value if isinstance(value, str) else ""


def as_number(value: object) -> int | None:
    """The whole number that `value` is, if it is one."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None
