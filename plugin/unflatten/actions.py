"""Menu entries and shortcuts, and which session belongs to which document."""

from __future__ import annotations

import textwrap
from typing import Any

from krita import Extension, Krita

from .launch import Installation, Trouble
from .progress import ProgressWindow
from .qt import QCoreApplication, QIcon, QTimer
from .session import Ending, Outcome, Session, Wishes

_TICK = 10
_MESSAGE_MILLISECONDS = 5000
_LINE = 64


class Unflatten(Extension):
    """The plugin as Krita sees it."""

    def __init__(self, parent: Any) -> None:
        super().__init__(parent)
        self._running: list[Running] = []

    def setup(self) -> None:
        QCoreApplication.instance().aboutToQuit.connect(self._cancel_all)

    def createActions(self, window: Any) -> None:
        # Texts and shortcuts stand in unflatten.action, where Krita's shortcut settings find them.
        window.createAction("unflatten_image", "Unflatten Image", "layer").triggered.connect(self.unflatten)
        window.createAction("unflatten_cancel", "Cancel Unflatten", "layer").triggered.connect(self.cancel)

    def unflatten(self) -> None:
        """Take the active document apart."""
        document = Krita.instance().activeDocument()
        already = self._of(document)
        if already is not None:
            already.window.raise_()
            _tell(document, f"“{already.session.canvas.name}” is already being taken apart.")
            return
        try:
            self._running.append(Running(document, self._running.remove))
        except Trouble as trouble:
            _complain(Outcome(Ending.FAILED, trouble.message, trouble.hint))

    def cancel(self) -> None:
        """Cancel the active document's session, or else the only one there is."""
        chosen = self._of(Krita.instance().activeDocument())
        if chosen is None and len(self._running) == 1:
            chosen = self._running[0]
        if chosen is not None:
            chosen.session.cancel()

    def _of(self, document: Any) -> Running | None:
        return next((each for each in self._running if each.session.canvas.document == document), None)

    def _cancel_all(self) -> None:
        for each in list(self._running):
            each.session.cancel()


class Running:
    """A session with its window and the timer that drives it."""

    def __init__(self, document: Any, ended: Any) -> None:
        self.session = Session(document, Wishes(), Installation.read(), lambda stage: self.window.show_stage(stage))
        self.window = ProgressWindow(_main_window(), self.session.canvas.name, self.session.cancel)
        self._ended = ended
        self._timer = QTimer(self.window)
        self._timer.timeout.connect(self._step)
        self._timer.start(_TICK)
        self.window.show()

    def _step(self) -> None:
        if self.session.step():
            return
        self._timer.stop()
        self._ended(self)
        outcome = self.session.outcome
        if outcome.attention:
            self.window.show_outcome(outcome)
        else:
            self.window.dismiss()
            _tell(self.session.canvas.document, outcome.message, *outcome.hint.splitlines())


def _main_window() -> Any:
    window = Krita.instance().activeWindow()
    return window.qwindow() if window is not None else None


def _complain(outcome: Outcome) -> None:
    """Show what went wrong before there was a session."""
    window = ProgressWindow(_main_window(), "", lambda: None)
    window.show_outcome(outcome)


def _tell(document: Any, *lines: str) -> None:
    """Float a message over the document's view, or over the active one where that is closed."""
    # Krita does not wrap it: a long line would go on beyond its window.
    text = "\n".join(textwrap.fill(line, _LINE) for line in lines if line)
    window = Krita.instance().activeWindow()
    if window is None:
        return
    views = window.views()
    of_document = [view for view in views if view.document() == document]
    for view in (of_document or [window.activeView()])[:1]:
        if view is not None:
            view.showFloatingMessage(text, QIcon(), _MESSAGE_MILLISECONDS, 1)
