"""The small window that shows how far a session is, and what went wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from .job import Progressed
from .qt import QDialog, QDialogButtonBox, QLabel, QPoint, QProgressBar, QRect, Qt, QVBoxLayout
from .session import Outcome

_OFFSET = (80, 140)
# Pixels between two of these windows, with the frame that a window gets when it is shown.
_GAP = 40


class ProgressWindow(QDialog):
    """Non-modal: the artist goes on working in any document. Closing it while a session runs cancels the session."""

    # Without a parent a window lives as long as its Python object.
    _open: ClassVar[list[ProgressWindow]] = []

    def __init__(self, above: Any, document: str, cancel: Callable[[], None]) -> None:
        """above: the main window that it stays above, or None."""
        # That is not its parent: Qt would destroy this with it, while the session goes on.
        super().__init__(None)
        self._open.append(self)
        self._cancel = cancel
        self._running = True
        self.setObjectName("unflatten_progress")
        self.setWindowTitle(f"Unflatten – {document}" if document else "Unflatten")
        self.setModal(False)
        # It must not take the keyboard from the canvas, nor keep Krita from ending.
        self.setAttribute(Qt.WidgetAttribute.WA_ShowWithoutActivating, True)
        self.setAttribute(Qt.WidgetAttribute.WA_QuitOnClose, False)
        self.setMinimumWidth(380)
        self._text = self._label("Reading the picture")
        self._bar = QProgressBar(self)
        self._bar.setRange(0, 0)
        self._bar.setTextVisible(False)
        self._remaining = self._label("")
        self._note = self._label("")
        self._note.hide()
        self._buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel, self)
        self._buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        for widget in (self._text, self._bar, self._remaining, self._note, self._buttons):
            layout.addWidget(widget)
        self._area = None
        if above is not None:
            self.winId()  # makes the window that windowHandle() gives
            self.windowHandle().setTransientParent(above.windowHandle())
            self._area = above.frameGeometry()
            self._place(self._area.topLeft() + QPoint(*_OFFSET))

    def show_progress(self, progress: Progressed) -> None:
        """Show what is being done and how far it is."""
        self._text.setText(progress.stage)
        self._bar.setRange(0, progress.steps)
        self._bar.setValue(progress.step)
        self._remaining.setText(remaining(progress.seconds_left))

    def show_note(self, text: str) -> None:
        """Bring it to the front, with one more sentence."""
        self._note.setText(text)
        self._note.show()
        self.raise_()

    def show_outcome(self, outcome: Outcome) -> None:
        """Show how it ended, until the artist closes the window."""
        self._release()
        self._text.setText(outcome.message)
        self._remaining.setText(outcome.hint)
        self._bar.hide()
        self._note.hide()
        self._buttons.setStandardButtons(QDialogButtonBox.StandardButton.Close)
        self.adjustSize()
        self._place(self.pos())
        self.show()
        self.raise_()

    def dismiss(self) -> None:
        """Close, with nothing to read."""
        self._release()
        self._hide()

    @classmethod
    def dismiss_read(cls, document: str) -> None:
        """Close what was said of that document before, now that there is something newer to say."""
        title = f"Unflatten – {document}" if document else "Unflatten"
        for each in list(cls._open):
            if not each._running and each.windowTitle() == title:
                each.dismiss()

    def reject(self) -> None:
        """Escape, the button, or the window's own close button."""
        if self._running:
            self._cancel()
        else:
            self._hide()

    def _label(self, text: str) -> Any:
        label = QLabel(text, self)
        label.setWordWrap(True)
        # Names and what services say are not HTML.
        label.setTextFormat(Qt.TextFormat.PlainText)
        label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        return label

    def _place(self, point: Any) -> None:
        """Move it to `point`, or below or beside other such windows that are there."""
        area = self._area
        if area is None:
            return
        place = QRect(point, self.sizeHint().expandedTo(self.minimumSize()))
        others = [each.frameGeometry() for each in self._open if each is not self and each.isVisible()]
        for other in sorted(others, key=lambda each: (each.left(), each.top())):
            if place.adjusted(0, 0, 0, _GAP).intersects(other):
                place.moveTop(other.bottom() + _GAP)
            if place.bottom() + _GAP > area.bottom():
                place.moveTo(place.right() + _GAP, area.top() + _OFFSET[1])
        self.move(place.topLeft())

    def _release(self) -> None:
        self._running = False
        # It holds the session, and with it the picture.
        self._cancel = _nothing

    def _hide(self) -> None:
        self.hide()
        if self in self._open:
            self._open.remove(self)
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
