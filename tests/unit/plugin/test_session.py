"""How a session ends, without Krita: only the calls that it makes before it reads pixels are answered."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


class Document:
    """An open document in which Krita is always at work, so that its pixels are never read."""

    def __getattr__(self, name: str) -> Any:
        answers = {
            **{
                "rootNode": SimpleNamespace(animated=lambda: False, childNodes=list),
                "animationLength": 0,
                "width": 8,
                "height": 4,
                "name": "Picture",
                "fileName": "",
            },
            **{"colorModel": "RGBA", "colorDepth": "U8", "colorProfile": "sRGB built-in", "tryBarrierLock": False},
            "bounds": SimpleNamespace(x=lambda: 0, y=lambda: 0, width=lambda: 8, height=lambda: 4),
        }
        return lambda: answers[name]


@pytest.fixture
def session(assembled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A session on such a document, with no bridge to be had."""
    import_module("unflatten")  # while there is no Krita with which it would register itself
    document: Any = Document()
    krita: Any = ModuleType("krita")
    krita.Krita = SimpleNamespace(instance=lambda: SimpleNamespace(documents=lambda: [document]))
    monkeypatch.setitem(sys.modules, "krita", krita)
    for name in ("PyQt5", "PyQt5.QtCore", "PyQt5.QtGui", "PyQt5.QtWidgets"):
        module: Any = ModuleType(name)
        module.__getattr__ = lambda name: object
        monkeypatch.setitem(sys.modules, name, module)
    from unflatten.job import Choices
    from unflatten.launch import Installation
    from unflatten.session import Session

    session = Session(document, Choices(), Installation("no-python", tmp_path), lambda progress: None)
    yield session
    session.cancel()


def test_there_is_no_outcome_while_it_runs_and_the_same_one_from_then_on(session: Any) -> None:
    assert session.step() is None
    assert session.step() is None
    session.cancel()
    outcome = session.step()
    assert outcome is not None and outcome is session.outcome is session.step()
    assert outcome.message.startswith("Cancelled.")


def test_work_that_ends_without_a_result_is_a_failure_in_words(session: Any) -> None:
    from unflatten.session import Ending

    session._work = (nothing for nothing in ())
    outcome = session.step()
    assert outcome is not None
    assert (outcome.ending, outcome.message, outcome.attention) == (Ending.FAILED, "It ended without a result.", True)


@pytest.mark.parametrize(("kind", "ending"), [("cancelled", "cancelled"), ("service", "failed"), ("", "failed")])
def test_a_job_that_the_bridge_cancels_is_cancelled_and_not_a_failure(session: Any, kind: str, ending: str) -> None:
    from unflatten.errors import UnflattenError

    def work() -> Iterator[None]:
        raise UnflattenError("It ended.", "Try again.", "code", kind)
        yield

    session._work = work()
    outcome = session.step()
    assert outcome is not None
    assert (outcome.ending.value, outcome.attention) == (ending, ending == "failed")
    assert (outcome.message, outcome.hint) == ("It ended.", "Try again.")
