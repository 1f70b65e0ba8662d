"""What differs between Qt 5 and Qt 6, so that no other file has to know which one Krita runs on."""

from __future__ import annotations

from importlib import import_module
from typing import Any

# Krita 5.3 refuses to import PyQt6, so Krita is asked which one it runs on instead of trying PyQt6 first.
try:
    import pykrita  # pyright: ignore[reportMissingImports]

    MAJOR = int(getattr(pykrita, "qt_major_version", lambda: 5)())
except ImportError:
    MAJOR = 5

_core: Any = import_module(f"PyQt{MAJOR}.QtCore")
_gui: Any = import_module(f"PyQt{MAJOR}.QtGui")
_widgets: Any = import_module(f"PyQt{MAJOR}.QtWidgets")

QByteArray = _core.QByteArray
QCoreApplication = _core.QCoreApplication
QPoint = _core.QPoint
QRect = _core.QRect
Qt = _core.Qt
QTimer = _core.QTimer
QIcon = _gui.QIcon
QApplication = _widgets.QApplication
QDialog = _widgets.QDialog
QDialogButtonBox = _widgets.QDialogButtonBox
QLabel = _widgets.QLabel
QMenu = _widgets.QMenu
QProgressBar = _widgets.QProgressBar
QVBoxLayout = _widgets.QVBoxLayout


def is_deleted(wrapper: Any) -> bool:
    """Whether Qt has deleted what this Python object stands for."""
    return bool(import_module(f"PyQt{MAJOR}.sip").isdeleted(wrapper))
