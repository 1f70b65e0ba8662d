"""What differs between Qt 5 and Qt 6, so that no other file has to know which one Krita runs on."""

# Krita 5.3 refuses to import PyQt6, so Krita is asked which one it runs on instead of trying PyQt6 first.
try:
    import pykrita

    MAJOR = int(getattr(pykrita, "qt_major_version", lambda: 5)())
except ImportError:
    MAJOR = 5

if MAJOR >= 6:
    from PyQt6.QtCore import QByteArray, QCoreApplication, QPoint, Qt, QTimer
    from PyQt6.QtGui import QIcon
    from PyQt6.QtWidgets import QDialog, QDialogButtonBox, QLabel, QProgressBar, QVBoxLayout
else:
    from PyQt5.QtCore import QByteArray, QCoreApplication, QPoint, Qt, QTimer
    from PyQt5.QtGui import QIcon
    from PyQt5.QtWidgets import QDialog, QDialogButtonBox, QLabel, QProgressBar, QVBoxLayout

__all__ = [
    "MAJOR",
    "QByteArray",
    "QCoreApplication",
    "QDialog",
    "QDialogButtonBox",
    "QIcon",
    "QLabel",
    "QPoint",
    "QProgressBar",
    "QTimer",
    "QVBoxLayout",
    "Qt",
]
