"""JSON from outside, read within bounds: of its depth, of its numbers, and of the characters that it can say.

Each bound is one that JSON itself does not have, and that would come out later as an error of ours: a depth that the
interpreter cannot follow, numbers that are none, and halves of characters that nothing can be written as.
"""

import json
import math
import re
from typing import Any, cast

DEEPEST = 32
"""Levels of lists and objects in one another. The deepest that anyone needs is four."""

# possessive, so that what is never closed costs one look and no memory
_STRING_OR_BRACKET = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
_HALVES = re.compile("[\ud800-\udfff]")
_ESCAPED_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def read(text: str) -> Any:
    """What JSON `text` says, half characters replaced. Raises ValueError where it is no JSON, or out of bounds."""
    check_depth(text)
    told = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    return whole(told) if _ESCAPED_HALF.search(text) or _HALVES.search(text) else told


def quoted(text: str) -> bytes:
    """JSON that says `text`."""
    return json.dumps(text).encode("ascii")


def check_depth(text: str) -> None:
    """Raise ValueError where lists and objects lie deeper in one another than DEEPEST."""
    depth = 0
    for found in _STRING_OR_BRACKET.finditer(text):
        match text[found.start()]:
            case "[" | "{":
                depth += 1
                if depth > DEEPEST:
                    raise ValueError("too deep")
            case "]" | "}":
                depth -= 1
            case _:
                pass


def whole(value: Any) -> Any:
    """A value with each half of a character replaced: JSON can carry one, UTF-8 cannot."""
    if isinstance(value, str):
        return _HALVES.sub("\ufffd", value)
    if isinstance(value, list):
        return [whole(each) for each in cast(list[Any], value)]
    if isinstance(value, dict):
        return {whole(name): whole(each) for name, each in cast(dict[str, Any], value).items()}
    return value


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError("too large")
    return value
