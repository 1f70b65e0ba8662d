"""What the user sees while the command line works: bars on a terminal, plain lines elsewhere; all of it on stderr."""

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from bridge.backends.base import Progress as Step
from bridge.command.batch import Result
from bridge.command.split import Order


@contextmanager
def split_progress(name: str) -> Generator[Callable[[Step], None]]:
    """A line with the stage and a bar, while one picture is split."""
    with _bars(BarColumn(bar_width=24), TimeElapsedColumn()) as bars:
        task = bars.add_task(escape(name), total=None)

        def show(step: Step) -> None:
            bars.update(task, description=escape(f"{name}: {step.stage}"), completed=step.step, total=step.steps)

        yield show


class BatchView:
    """One bar for all pictures, a line for each that is being split, and a line that stays for each that is done."""

    def __init__(self, total: int) -> None:
        self._bars = _bars(BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn())
        self._whole = self._bars.add_task("All pictures", total=total)
        self._lines: dict[Order, TaskID] = {}
        self._counts: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for line in self._lines.values():
            self._bars.remove_task(line)
        self._bars.stop()

    @property
    def failed(self) -> int:
        return self._counts["failed"]

    def progress(self, order: Order, step: Step) -> None:
        """Show how far a picture is; called from the crew's threads."""
        if order not in self._lines:
            self._lines[order] = self._bars.add_task(escape(order.source.name))
        told = f"  {order.source.name}: {step.stage}"
        self._bars.update(self._lines[order], description=escape(told), completed=step.step, total=step.steps)

    def show(self, result: Result) -> None:
        """Say what became of a picture."""
        for order in [order for order in self._lines if order.source == result.source]:
            self._bars.remove_task(self._lines.pop(order))
        if result.problem:
            self._say("failed", f"{result.source.name}: failed. {result.problem.message} {result.problem.hint}")
        elif result.outcome is None:
            self._say("skipped", f"{result.source.name}: done before.")
        else:
            report = result.outcome.report
            took = f"{round(report.seconds, 1)} s" + (f", ${report.cost:.2f}" if report.cost else "")
            self._say(
                "split", f"{result.source.name}: {len(result.outcome.layers)} layers in {result.target} ({took})."
            )
        self._bars.advance(self._whole)

    def summary(self) -> None:
        counts = self._counts
        self._bars.console.print(
            f"{counts['split']} split, {counts['skipped']} done before, {counts['failed']} failed.", highlight=False
        )

    def _say(self, count: str, line: str) -> None:
        self._counts[count] += 1
        self._bars.console.print(escape(line), highlight=False, soft_wrap=True)


def _bars(*columns: BarColumn | MofNCompleteColumn | TimeElapsedColumn) -> Progress:
    console = Console(stderr=True)
    quiet = not console.is_terminal
    return Progress(
        SpinnerColumn(), TextColumn("{task.description}"), *columns, console=console, transient=True, disable=quiet
    )
