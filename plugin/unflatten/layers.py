"""Layers from the bridge → paint layers in a group, which arrives in one undo step and fills as the pixels come."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from krita import Krita

from .canvas import Canvas
from .connection import Rows
from .qt import QByteArray


class Vanished(Exception):
    """The group is no longer in the document: the artist undid it or deleted it."""


class Scratch:
    """A small document with the colours of the canvas, in which a group is built where nobody sees it.

    Every addChildNode is an undo step, so the group comes into the artist's document as one duplicate. Making and
    closing a document each take Krita some time: both happen while nobody waits for them.
    """

    def __init__(self, canvas: Canvas) -> None:
        document = canvas.document
        self._document = Krita.instance().createDocument(
            16, 16, "", document.colorModel(), document.colorDepth(), document.colorProfile(), document.resolution()
        )
        self._document.setBatchmode(True)

    @property
    def document(self) -> Any:
        return self._document

    def profile(self) -> bytes:
        """The ICC profile of the canvas. Krita tells only its name, but a saved document holds it."""
        with tempfile.TemporaryDirectory(prefix="unflatten-") as folder:
            file = Path(folder) / "profile.kra"
            self._document.saveAs(str(file))
            self._document.waitForDone()
            with zipfile.ZipFile(file) as archive:
                names = [name for name in archive.namelist() if name.endswith("/annotations/icc")]
                return archive.read(names[0]) if names else b""

    def group(self, title: str, names: Sequence[str], covers: bool) -> Any:
        """A hidden group of empty paint layers, bottom to top, that belongs to no document yet."""
        group = self._document.createGroupLayer(title)
        group.setVisible(False)
        if covers:
            # “Copy” replaces what lies below, transparency included, so the original layers can stay visible.
            group.setBlendingMode("copy")
        self._document.rootNode().addChildNode(group, None)
        for name in names:
            group.addChildNode(self._document.createNode(name, "paintlayer"), None)
        return group.duplicate()

    def close(self) -> None:
        self._document.setModified(False)
        self._document.close()


class WaitingGroup:
    """A hidden group of empty layers on top of the document, filled row by row, then shown.

    Hidden, so that the picture on the canvas never passes through a half-filled stack. Neither `setVisible` nor
    `setPixelData` is an undo step in Krita: the one step is the group's arrival, and a redo brings back what it became.
    """

    def __init__(self, canvas: Canvas, scratch: Scratch, names: Sequence[str], covers: bool) -> None:
        """Put the group into the document. covers: keep what lies below from showing through clear places."""
        self._canvas = canvas
        group = scratch.group(f"Unflattened {canvas.name}", names, covers)
        canvas.document.rootNode().addChildNode(group, None)
        self._id = group.uniqueId()
        self._layers = [layer.uniqueId() for layer in group.childNodes()]

    def write(self, rows: Rows) -> None:
        """Write a run of rows into layer `rows.index`. Raises Vanished."""
        layer = _find(self._find_group(), self._layers[rows.index])
        if layer is None:
            raise Vanished
        # Krita silently skips a short buffer; the connection hands on whole rows only.
        pixels = QByteArray(rows.buffer)
        pixels.truncate(rows.size)
        layer.setPixelData(pixels, rows.left, rows.top, rows.width, rows.height)

    def show(self) -> None:
        """Show the filled group. Raises Vanished."""
        self._find_group().setVisible(True)
        self.refresh()

    def refresh(self) -> None:
        document = self._canvas.document
        # setPixelData and setVisible tell neither the canvas nor “unsaved changes?”.
        document.refreshProjection()
        document.setModified(True)

    def take_back(self) -> None:
        """Remove the group again, by undoing its arrival where that is the last thing that was done.

        Not in the same turn of the event loop as its arrival: Krita's window has not heard of the group by then, and
        crashes when it hears of its end first.
        """
        app = Krita.instance()
        document = self._canvas.document
        if _group(document, self._id) is None:
            return
        if app.activeDocument() == document:
            app.action("edit_undo").trigger()
            document.waitForDone()
            if _group(document, self._id) is None:
                return
            # That was the artist's own step: give it back.
            app.action("edit_redo").trigger()
            document.waitForDone()
        group = _group(document, self._id)
        if group is not None:
            group.remove()
            document.refreshProjection()

    def _find_group(self) -> Any:
        group = _group(self._canvas.document, self._id)
        if group is None:
            raise Vanished
        return group


def _group(document: Any, unique_id: Any) -> Any:
    """The node of that id, wherever the artist has moved it; None where it is gone."""
    root = document.rootNode()
    return _find(root, unique_id) if root is not None else None


def _find(parent: Any, unique_id: Any) -> Any:
    # Krita 5.1 has no nodeByUniqueID.
    for node in parent.childNodes():
        if node.uniqueId() == unique_id:
            return node
        if node.type() == "grouplayer":
            found = _find(node, unique_id)
            if found is not None:
                return found
    return None
