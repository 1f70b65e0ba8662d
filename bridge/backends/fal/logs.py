"""A model's log lines as steps and words that a user can look at."""

import re

from bridge.backends.base import Progress

STAGE = "fal is splitting the picture"
LONGEST = 72
_STEPS = re.compile(r"\b(\d{1,4})\s*/\s*(\d{1,4})\b")
_BAR = re.compile(r"\d+%\|[^|]*\|")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]+")


def read(line: str) -> Progress | None:
    """What a line tells: how many steps are done, or its words; None where it is neither.

    Step counters are drawn as bars (“ 25%|██▌ | 7/28 [00:02<00:06]”), of which only the numbers mean something here.
    """
    bar = _BAR.search(line) is not None
    steps = _STEPS.search(line)
    if steps and (bar or "step" in line.lower()) and int(steps[1]) <= int(steps[2]) and int(steps[2]) > 0:
        return Progress(STAGE, int(steps[1]), int(steps[2]))
    words = " ".join(_UNPRINTABLE.sub(" ", line).split())
    if bar or not re.search(r"[^\W\d_]{2}", words):
        return None
    return Progress(f"fal: {words if len(words) <= LONGEST else words[: LONGEST - 1] + '…'}", 0, 1)
