"""Menu entries and shortcuts, and the sessions that they start and cancel."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

from krita import Extension  # pyright: ignore[reportMissingImports]

from .errors import UnflattenError
from .job import Choices
from .krita_api import Document, Window, application
from .launch import Installation
from .progress import ProgressWindow
from .qt import QCoreApplication, QIcon, QTimer
from .session import Ending, Outcome, Session

_TICK = 10
_MESSAGE_MILLISECONDS = 5000
_LINE = 64


class Unflatten(Extension):
    """The plugin as Krita sees it."""

    def __init__(self, parent: Any) -> None:
        super().__init__(parent)
        self._running: list[Running] = []

    def setup(self) -> None:
        """Called by Krita once, when it starts."""
        QCoreApplication.instance().aboutToQuit.connect(self._cancel_all)

    def createActions(self, window: Window) -> None:
        """Called by Krita for each of its windows."""
        # Texts and shortcuts are in unflatten.action, where Krita's shortcut settings find them.
        window.createAction("unflatten_image", "Unflatten Image", "layer").triggered.connect(self.unflatten)
        window.createAction("unflatten_cancel", "Cancel Unflatten", "layer").triggered.connect(self.cancel)

    def unflatten(self) -> None:
        """Take the active document apart."""
        document = application().activeDocument()
        already = self._of(document)
        if already is not None:
            already.window.raise_()
            _tell(document, f"“{already.session.canvas.name}” is already being taken apart.")
            return
        try:
            self._running.append(Running(document, self._running.remove))
        except UnflattenError as trouble:
            _complain(Outcome(Ending.FAILED, trouble.message, trouble.hint))

    def cancel(self) -> None:
        """Cancel the active document's session, or else the only one there is."""
        chosen = self._of(application().activeDocument())
        if chosen is None and len(self._running) == 1:
            chosen = self._running[0]
        if chosen is not None:
            chosen.session.cancel()

    def _of(self, document: Document | None) -> Running | None:
        return next((each for each in self._running if each.session.canvas.document == document), None)

    def _cancel_all(self) -> None:
        for each in list(self._running):
            each.session.cancel()


class Running:
    """A session with its window and the timer that drives it."""

    def __init__(self, document: Document | None, ended: Callable[[Running], None]) -> None:
        """Raises UnflattenError where the document cannot be taken apart."""
        self.session = Session(document, Choices(), Installation.read(), lambda each: self.window.show_progress(each))
        self.window = ProgressWindow(_main_window(), self.session.canvas.name, self.session.cancel)
        self._ended = ended
        self._timer = QTimer(self.window)
        self._timer.timeout.connect(self._step)
        self._timer.start(_TICK)
        self.window.show()

    def _step(self) -> None:
        outcome = self.session.step()
        if outcome is None:
            return
        self._timer.stop()
        self._ended(self)
        if outcome.attention:
            self.window.show_outcome(outcome)
        else:
            self.window.dismiss()
            _tell(self.session.canvas.document, outcome.message, *outcome.hint.splitlines())


def _main_window() -> Any:
    window = application().activeWindow()
    return window.qwindow() if window is not None else None


def _complain(outcome: Outcome) -> None:
    """Show what went wrong where there is no session."""
    window = ProgressWindow(_main_window(), "", lambda: None)
    window.show_outcome(outcome)


def _tell(document: Document | None, *lines: str) -> None:
    """Show a floating message over the document's view, or over the active one where that is closed."""
    # Krita does not wrap it: a long line would be cut off at the window's edge.
    text = "\n".join(textwrap.fill(line, _LINE) for line in lines if line)
    window = application().activeWindow()
    if window is None:
        return
    views = window.views()
    of_document = [view for view in views if view.document() == document]
    for view in (of_document or [window.activeView()])[:1]:
        if view is not None:
            view.showFloatingMessage(text, QIcon(), _MESSAGE_MILLISECONDS, 1)
