"""Menu entries and shortcuts, and the sessions that they start and cancel."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

from krita import Extension  # pyright: ignore[reportMissingImports]

from .canvas import Canvas
from .errors import UnflattenError
from .job import Choices
from .krita_api import Document, Window, application
from .launch import Installation
from .progress import ProgressWindow
from .qt import QCoreApplication, QIcon, QMenu, QTimer, is_deleted
from .session import Ending, Outcome, Session
from .settings import keeps_original, set_keeps_original

_TICK = 10
_MESSAGE_MILLISECONDS = 5000
_LINE = 64


class Unflatten(Extension):
    """The plugin as Krita sees it."""

    def __init__(self, parent: Any) -> None:
        super().__init__(parent)
        self._running: list[Running] = []
        self._cancels: list[Any] = []
        self._keeps: list[Any] = []

    def setup(self) -> None:
        """Called by Krita once, when it starts."""
        QCoreApplication.instance().aboutToQuit.connect(self._cancel_all)

    def createActions(self, window: Window) -> None:
        """Called by Krita for each of its windows."""
        # Texts, icons and shortcuts are in unflatten.action, where Krita's shortcut settings find them.
        image = window.createAction("unflatten_image", "Unflatten Image", "layer")
        image.triggered.connect(self.unflatten)
        # Krita puts it into its menu after this.
        QTimer.singleShot(0, lambda: _set_apart(image))
        cancel = window.createAction("unflatten_cancel", "Cancel Unflatten", "layer")
        cancel.triggered.connect(self.cancel)
        # Krita enables an action anew whenever the layer, the selection or the document changes.
        cancel.changed.connect(self._enable_cancel)
        self._cancels.append(cancel)
        keep = window.createAction("unflatten_keep_original", "Show Original Behind Unflattened Layers", "layer")
        keep.setCheckable(True)
        keep.setChecked(keeps_original())
        keep.toggled.connect(self._keep_original)
        self._keeps.append(keep)
        self._enable_cancel()

    def unflatten(self) -> None:
        """Take the active document apart."""
        document = application().activeDocument()
        already = self._of(document)
        if already is not None:
            already.window.show_note(f"“{already.session.canvas.name}” is already being taken apart.")
            return
        try:
            self._running.append(Running(document, self._ended))
        except UnflattenError as trouble:
            _complain(Outcome(Ending.FAILED, trouble.message, trouble.hint))
        self._enable_cancel()

    def cancel(self) -> None:
        """Cancel the active document's session, or else the only one there is."""
        chosen = self._of(application().activeDocument())
        if chosen is None and len(self._running) == 1:
            chosen = self._running[0]
        if chosen is not None:
            chosen.session.cancel()

    def _of(self, document: Document | None) -> Running | None:
        return next((each for each in self._running if each.session.canvas.document == document), None)

    def _ended(self, running: Running) -> None:
        self._running.remove(running)
        self._enable_cancel()

    def _enable_cancel(self) -> None:
        for action in _living(self._cancels):
            if action.isEnabled() != bool(self._running):
                action.setEnabled(bool(self._running))

    def _keep_original(self, keep: bool) -> None:
        set_keeps_original(keep)
        for action in _living(self._keeps):
            action.setChecked(keep)

    def _cancel_all(self) -> None:
        for each in list(self._running):
            each.session.cancel()


class Running:
    """A session with its window and the timer that drives it. Neither belongs to a window of Krita's."""

    def __init__(self, document: Document | None, ended: Callable[[Running], None]) -> None:
        """Raises UnflattenError where the document cannot be taken apart."""
        installation, keep_original = Installation.read(), keeps_original()
        self.session = Session(
            document, Choices(), installation, lambda each: self.window.show_progress(each), keep_original
        )
        name = self.session.canvas.name
        ProgressWindow.dismiss_read(name)
        self.window = ProgressWindow(_main_window(), name, self.session.cancel)
        self._ended = ended
        self._timer = QTimer()
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
            _tell(self.session.canvas, outcome)


def _set_apart(action: Any) -> None:
    """Put a separator before it in its menu."""
    for menu in [] if is_deleted(action) else action.associatedWidgets():
        if isinstance(menu, QMenu):
            menu.insertSeparator(action)


def _living(actions: list[Any]) -> list[Any]:
    """Those whose window is still there; the others are forgotten."""
    actions[:] = [each for each in actions if not is_deleted(each)]
    return actions


def _main_window() -> Any:
    window = application().activeWindow()
    return window.qwindow() if window is not None else None


def _complain(outcome: Outcome) -> None:
    """Show what went wrong where there is no session."""
    ProgressWindow.dismiss_read("")
    window = ProgressWindow(_main_window(), "", lambda: None)
    window.show_outcome(outcome)


def _tell(canvas: Canvas, outcome: Outcome) -> None:
    """Show a floating message over the view that is in front, with the document's name where that is another's."""
    window = application().activeWindow()
    view = window.activeView() if window is not None else None
    if view is None:
        return
    lines = [outcome.message, *outcome.hint.splitlines()]
    in_front = view.document() == canvas.document  # Krita's wrappers know no !=
    if not in_front and canvas.name not in outcome.message:
        lines[0] = f"“{canvas.name}”: {lines[0]}"
    # Krita does not wrap it: a long line would be cut off at the window's edge.
    text = "\n".join(textwrap.fill(line, _LINE) for line in lines if line)
    view.showFloatingMessage(text, QIcon(), _MESSAGE_MILLISECONDS, 1)
