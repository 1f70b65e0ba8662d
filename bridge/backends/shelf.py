"""Models that a backend can use and a user may add: what it offers, adds and removes, whatever backend it is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from bridge.backends import registry
from bridge.errors import BadSettings


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    well: is it as it should be; remedy: what to do where it is not; off: it is so because nobody has asked for it.
    """

    what: str
    told: str
    well: bool = True
    remedy: str = ""
    off: bool = False


@dataclass(frozen=True)
class ModelOffer:
    """A model, here or to be had. gigabytes: all that it takes on the disk; reported: by others' figures.

    memory: what it needs, and fits: how it would do on this computer, as short sentences; best: none would do better.
    own: it lies where the user has it.
    """

    name: str
    title: str
    licence: str
    gigabytes: float
    memory: str
    here: bool = False
    own: bool = False
    reported: bool = False
    fits: str = ""
    best: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fetching:
    """How far a download has come: bytes of all that is fetched, and the file that is."""

    file: str
    done: int
    total: int


@dataclass(frozen=True)
class Addition:
    """What adding a model would do. fetch: bytes to download; free: bytes free there. carry_out: does it."""

    name: str
    fetch: int
    free: int
    carry_out: Callable[[Callable[[Fetching], None]], None]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Removed:
    """What a removal freed, and what it left alone because it is the user's own."""

    name: str
    freed: int
    left: tuple[str, ...] = field(default_factory=tuple[str, ...])


@runtime_checkable
class ModelShelf(Protocol):
    """A backend's models."""

    def offers(self) -> list[ModelOffer]:
        """All that are known or here. Cheap: asks no network."""
        ...

    def takes(self, what: str) -> bool:
        """Is `what` one of its models' names, or a file or folder that could be one?"""
        ...

    def plan(self, what: str, to: str = "") -> Addition:
        """What adding `what` would do; may ask the network. to: the model that an adapter is for.

        Raises UnflattenError where it is no model, cannot be had, or does not fit on the disk.
        """
        ...

    def remove(self, name: str) -> Removed:
        """Remove a model, and the parts that no other uses. Raises BadSettings where there is none of that name."""
        ...

    def findings(self) -> list[Finding]:
        """What “unflatten doctor” tells of it. Cheap, and changes nothing."""
        ...


def shelves() -> Iterator[tuple[str, ModelShelf]]:
    """The backends that have models to be added, by name."""
    for name in registry.names():
        shelf = getattr(registry.get(name), "models", None)
        if isinstance(shelf, ModelShelf):
            yield name, shelf


def shelf_for(what: str) -> ModelShelf:
    """The shelf that `what` belongs to. Raises BadSettings."""
    for _, shelf in shelves():
        if shelf.takes(what):
            return shelf
    raise BadSettings(
        f"“{what}” is neither a model's name nor a file or folder.", "Run “unflatten models” for the names."
    )
