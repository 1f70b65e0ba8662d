"""The small window that shows how far a session is, and what went wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from .job import Progressed
from .qt import QDialog, QDialogButtonBox, QLabel, QPoint, QProgressBar, Qt, QVBoxLayout
from .session import Outcome

_OFFSET = (80, 140)


class ProgressWindow(QDialog):
    """Non-modal: the artist goes on working in any document. Closing it while a session runs cancels the session."""

    # Qt owns the window, but its Python object, which the buttons call, lives only while something here refers to it.
    _open: ClassVar[set[ProgressWindow]] = set()

    def __init__(self, parent: Any, document: str, cancel: Callable[[], None]) -> None:
        super().__init__(parent)
        self._open.add(self)
        self._cancel = cancel
        self._running = True
        self.setObjectName("unflatten_progress")
        self.setWindowTitle(f"Unflatten – {document}" if document else "Unflatten")
        self.setModal(False)
        # It must not take the keyboard from the canvas.
        self.setAttribute(Qt.WidgetAttribute.WA_ShowWithoutActivating, True)
        self.setMinimumWidth(380)
        if parent is not None:
            # Beside the picture's middle, which the artist looks at.
            self.move(parent.frameGeometry().topLeft() + QPoint(*_OFFSET))
        self._text = QLabel("Reading the picture", self)
        self._text.setWordWrap(True)
        self._bar = QProgressBar(self)
        self._bar.setRange(0, 0)
        self._bar.setTextVisible(False)
        self._remaining = QLabel("", self)
        self._remaining.setWordWrap(True)
        self._buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel, self)
        self._buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        for widget in (self._text, self._bar, self._remaining, self._buttons):
            layout.addWidget(widget)

    def show_progress(self, progress: Progressed) -> None:
        """Show what is being done and how far it is."""
        self._text.setText(progress.stage)
        self._bar.setRange(0, progress.steps)
        self._bar.setValue(progress.step)
        self._remaining.setText(remaining(progress.seconds_left))

    def show_outcome(self, outcome: Outcome) -> None:
        """Show how it ended, until the artist closes the window."""
        self._release()
        self._text.setText(outcome.message)
        self._remaining.setText(outcome.hint)
        self._bar.hide()
        self._buttons.setStandardButtons(QDialogButtonBox.StandardButton.Close)
        self.adjustSize()
        self.show()
        self.raise_()

    def dismiss(self) -> None:
        """Close, with nothing to read."""
        self._release()
        self._hide()

    def reject(self) -> None:
        """Escape, the button, or the window's own close button."""
        if self._running:
            self._cancel()
        else:
            self._hide()

    def _release(self) -> None:
        self._running = False
        # It holds the session, and with it the picture.
        self._cancel = _nothing

    def _hide(self) -> None:
        self.hide()
        self._open.discard(self)
        self.deleteLater()


def _nothing() -> None:
    pass


def remaining(seconds: float | None) -> str:
    """Seconds as an artist would say them."""
    if seconds is None:
        return ""
    if seconds < 5:
        return "A few seconds left"
    if seconds < 90:
        return f"About {max(5, round(seconds / 5) * 5)} seconds left"
    return f"About {round(seconds / 60)} minutes left"
