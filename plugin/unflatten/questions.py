"""Krita's questions while it opens a file: closed, where nobody is there to answer them, and told."""

from __future__ import annotations

import re
from typing import Any

from .qt import QApplication, QTimer

_LOOK_EVERY = 100


class Questions:
    """Closes every dialog that opens meanwhile, as Escape would; `asked` is what they said.

    Krita asks some things in spite of its batch mode, such as where a file layer's file is, and waits for ever.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._timer = QTimer()
        self._timer.timeout.connect(self._close)

    def __enter__(self) -> Questions:
        # A dialog's own event loop runs timers, even in kritarunner.
        self._timer.start(_LOOK_EVERY)
        return self

    def __exit__(self, *error: object) -> None:
        self._timer.stop()

    def _close(self) -> None:
        dialog: Any = QApplication.activeModalWidget()
        if dialog is None:
            return
        text = str(dialog.text()) if hasattr(dialog, "text") else str(dialog.windowTitle())
        self.asked.append(" ".join(re.sub("<[^>]+>", " ", text).split()))
        (dialog.reject if hasattr(dialog, "reject") else dialog.close)()
