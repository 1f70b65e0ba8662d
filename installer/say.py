"""What the installer tells: one line for each thing done, and one way to fail."""

import sys


class Failure(Exception):
    """The installation cannot go on: a sentence that says what happened, and the exact next step."""

    def __init__(self, message: str, next_step: str) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step


def heading(text: str) -> None:
    """The start of a step that takes a while."""
    print(f"\n{text}", flush=True)


def line(text: str) -> None:
    """One thing done, or one thing to know."""
    print(f"  {text}", flush=True)


def failure(problem: Failure) -> None:
    """The only place where a failure is shown."""
    sys.stdout.flush()
    print(f"\n{problem.message}\nNext: {problem.next_step}", file=sys.stderr, flush=True)


def use_utf_8() -> None:
    """Print ×, – and “ ” also where the terminal's own encoding lacks them (Windows, LANG=C), instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(encoding="utf-8", errors="replace")
