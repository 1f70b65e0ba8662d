"""`unflatten models`: which models there are for this computer, adding them and removing them."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridge.errors import BadSettings, Cancelled

if TYPE_CHECKING:
    from bridge.backends.shelf import Addition, Fetching, ModelOffer

GB = 10**9
ASK_ABOVE = GB
"""Bytes to be fetched that are worth a question."""
STOPPED = "Stopped. Run the same command again to go on where it stopped."

app = typer.Typer(help="Models on this computer: list, add, remove.", invoke_without_command=True)

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.callback()
def default(context: typer.Context, as_json: Json = False) -> None:
    """Models on this computer: list them (that alone is the same as “list”), add, remove."""
    if context.invoked_subcommand is None:
        show(as_json)


@app.command("list")
def list_models(as_json: Json = False) -> None:
    """List those that are known or here: size, licence, memory, and what fits this computer."""
    show(as_json)


@app.command()
def add(
    what: Annotated[list[str], typer.Argument(help="Names from the list, or folders and files.", metavar="NAME|PATH…")],
    to: Annotated[str, typer.Option(help="The model that an adapter (LoRA) is for.", metavar="NAME")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Fetch without being asked.")] = False,
) -> None:
    """Add models: fetched by name, or your own where they lie. Run again, it goes on where it stopped."""
    from bridge.backends.shelf import shelf_for

    for each in what:
        addition = shelf_for(each).plan(each, to)
        for note in addition.notes:
            print(note)
        _agree(addition, yes)
        try:
            _carry_out(addition)
        except KeyboardInterrupt:
            raise Cancelled(STOPPED) from None
        print(f"“{addition.name}” is here.")


@app.command()
def remove(name: Annotated[list[str], typer.Argument(help="Names from the list.", metavar="NAME…")]) -> None:
    """Remove models, and what no other model uses. Your own files stay where they are."""
    from bridge.backends.shelf import shelf_for

    for each in name:
        removed = shelf_for(each).remove(each)
        print(f"“{removed.name}” is removed; {removed.freed / GB:.1f} GB are free again.")
        for path in removed.left:
            print(f"Yours stays: {path}")


def show(as_json: bool) -> None:
    """Print the list."""
    from bridge.backends.shelf import shelves

    offers = [(backend, offer) for backend, shelf in shelves() for offer in shelf.offers()]
    if as_json:
        models = [{"backend": backend, **asdict(offer)} for backend, offer in offers]
        print(json.dumps({"models": models}, indent=1, ensure_ascii=False))
        return
    for _, offer in offers:
        print(*described(offer), sep="\n")
    if any(offer.reported for _, offer in offers):
        print("* by others' reports, not measured here")
    if not offers:
        print("No splitter here uses models.")
    elif not any(offer.here for _, offer in offers):
        print("None is here yet: “unflatten models add NAME” fetches one.")


def described(offer: "ModelOffer") -> list[str]:
    """A model in some lines."""
    state = "here" if offer.here else "not whole" if offer.own else "to be fetched"
    mark = "*" if offer.reported else ""
    lines = [
        f"{offer.name}  ({state}, {offer.gigabytes:g} GB{mark})",
        f"    {offer.title}. Licence: {offer.licence}.",
    ]
    lines += [f"    Memory: {offer.memory}{mark}."] if offer.memory else []
    best = "; the best for this computer" if offer.best else ""
    lines += [f"    Here: {offer.fits}{best}."] if offer.fits else []
    return [*lines, *(f"    {note}" for note in offer.notes)]


def _agree(addition: "Addition", yes: bool) -> None:
    """Ask before many GB are fetched. Raises Cancelled, and BadSettings where nobody can be asked."""
    if addition.fetch <= ASK_ABOVE:
        return
    print(f"{addition.fetch / GB:.1f} GB are to be fetched; {addition.free / GB:.0f} GB are free there.")
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadSettings("There is no terminal to ask you in whether so much may be fetched.", "Add “--yes”.")
    if input("Fetch them? [y/N] ").strip().lower() not in ("y", "yes"):
        raise Cancelled("Nothing was fetched.")


def _carry_out(addition: "Addition") -> None:
    if not addition.fetch:
        addition.carry_out(lambda step: None)
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(bar_width=24), DownloadColumn()]
    columns += [TransferSpeedColumn(), TimeRemainingColumn()]
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task(escape(addition.name), total=None)

        def tell(step: "Fetching") -> None:
            bars.update(bar, description=escape(step.file), completed=step.done, total=step.total)

        told: Callable[[Fetching], None] = tell if console.is_terminal else _each_tenth(console)
        addition.carry_out(told)


def _each_tenth(console: Any) -> "Callable[[Fetching], None]":
    """Where no bar can be drawn: a line for each tenth."""
    last = -1

    def tell(step: "Fetching") -> None:
        nonlocal last
        tenth = 10 * step.done // max(step.total, 1)
        if tenth != last:
            last = tenth
            console.print(f"{10 * tenth} % of {step.total / GB:.1f} GB", highlight=False)

    return tell
