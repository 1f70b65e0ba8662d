"""What the user sees while the command line works: bars on a terminal, plain lines elsewhere; all of it on stderr."""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from bridge.command.batch import Result
from bridge.jobs.job import Progressed


class SplitView:
    """A line with the stage and a bar, while one picture is split."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._bars = _bars(BarColumn(bar_width=24), TimeElapsedColumn())
        self._line = self._bars.add_task(escape(name), total=None)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def say(self, sentence: str) -> None:
        """Say what has to be known; nothing where it is empty."""
        _say(self._bars, sentence)

    def progress(self, step: Progressed) -> None:
        """Show how far the picture is."""
        told = f"{self._name}: {step.stage}"
        self._bars.update(self._line, description=escape(told), completed=step.step, total=step.steps)


class BatchView:
    """One bar for all pictures, a line for each that is being split, and a line that stays for each that is done."""

    def __init__(self) -> None:
        self._bars = _bars(BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn())
        self._whole = self._bars.add_task("All pictures")
        self._lines: dict[Path, TaskID] = {}
        self._counts: Counter[str] = Counter()

    @property
    def failed(self) -> int:
        """How many pictures could not be split."""
        return self._counts["failed"]

    @contextmanager
    def drawing(self, total: int) -> Generator[None]:
        """Draw the bars for `total` pictures meanwhile, and sum up at the end."""
        self._bars.update(self._whole, total=total)
        with self._bars:
            yield
            for line in self._lines.values():
                self._bars.remove_task(line)
        counts = self._counts
        self.say(f"{counts['split']} split, {counts['skipped']} done before, {counts['failed']} failed.")

    def say(self, sentence: str) -> None:
        """Say what has to be known; nothing where it is empty."""
        _say(self._bars, sentence)

    def progress(self, source: Path, step: Progressed) -> None:
        """Show how far a picture is."""
        if source not in self._lines:
            self._lines[source] = self._bars.add_task("")
        told = f"  {source.name}: {step.stage}"
        self._bars.update(self._lines[source], description=escape(told), completed=step.step, total=step.steps)

    def show(self, result: Result) -> None:
        """Say what became of a picture."""
        if result.source in self._lines:
            self._bars.remove_task(self._lines.pop(result.source))
        name = str(result.source)
        if result.problem:
            self._count("failed", f"{name}: failed. {result.problem.message} {result.problem.hint}")
        elif result.outcome is None:
            self._count("skipped", f"{name}: done before.")
        else:
            report, count = result.outcome.report, len(result.outcome.layers)
            took = f"{round(report['seconds'], 1)} s" + (f", ${report['cost']:.2f}" if report["cost"] else "")
            done = f"{name}: {count} layer{'s' * (count != 1)} in {result.target} ({took})."
            self._count("split", " ".join([done, *report["notes"]]))
        self._bars.advance(self._whole)

    def _count(self, what: str, line: str) -> None:
        self._counts[what] += 1
        self.say(line)


def _say(bars: Progress, sentence: str) -> None:
    # What nobody can read stops no work.
    with suppress(OSError):
        if sentence:
            bars.console.print(escape(sentence), highlight=False, soft_wrap=True)


def _bars(*columns: BarColumn | MofNCompleteColumn | TimeElapsedColumn) -> Progress:
    console = Console(stderr=True)
    quiet = not console.is_terminal
    return Progress(
        SpinnerColumn(), TextColumn("{task.description}"), *columns, console=console, transient=True, disable=quiet
    )
