"""The small window that shows how far a session is, and what went wrong if something did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from .connection import Stage
from .qt import QDialog, QDialogButtonBox, QLabel, QPoint, QProgressBar, Qt, QVBoxLayout
from .session import Outcome

_OFFSET = (80, 140)


class ProgressWindow(QDialog):
    """Non-modal: the artist goes on working in any document. Closing it while a session runs cancels the session."""

    # Qt owns the window, but its Python half, which answers the buttons, lives only as long as something here holds it.
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

    def show_stage(self, stage: Stage) -> None:
        self._text.setText(stage.text)
        self._bar.setRange(0, stage.steps)
        self._bar.setValue(stage.step)
        self._remaining.setText(remaining(stage.seconds_left))

    def show_outcome(self, outcome: Outcome) -> None:
        """Turn into a message that waits to be read."""
        self._over()
        self._text.setText(outcome.message)
        self._remaining.setText(outcome.hint)
        self._bar.hide()
        self._buttons.setStandardButtons(QDialogButtonBox.StandardButton.Close)
        self.adjustSize()
        self.show()
        self.raise_()

    def dismiss(self) -> None:
        self._over()
        self._leave()

    def reject(self) -> None:
        """Escape, the button, or the window's own close button."""
        if self._running:
            self._cancel()
        else:
            self._leave()

    def _over(self) -> None:
        self._running = False
        # Lets go of the session, and with it of the picture.
        self._cancel = _nothing

    def _leave(self) -> None:
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
