"""Layers from the bridge → paint layers in a group, which is one undo step and is filled as the pixels come."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from .canvas import Canvas
from .job import LayerRows
from .krita_api import Document, Id, Node, application
from .qt import QByteArray


class GroupRemoved(Exception):
    """The group is no longer in the document: the artist undid it or deleted it."""


class Scratch:
    """A small document without a window, of the canvas's colours, in which the group is built.

    Every addChildNode is an undo step, so the group is put into the artist's document as one duplicate. Making and
    closing a document each take Krita some time: both are done while the bridge is at work.
    """

    def __init__(self, canvas: Canvas) -> None:
        document = canvas.document
        self._document = application().createDocument(
            16, 16, "", document.colorModel(), document.colorDepth(), document.colorProfile(), document.resolution()
        )
        self._document.setBatchmode(True)

    @property
    def document(self) -> Document:
        """The document."""
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

    def group(self, title: str, names: Sequence[str], covers: bool) -> Node:
        """A hidden group of empty paint layers, bottom to top, that belongs to no document yet."""
        group = self._document.createGroupLayer(title)
        group.setVisible(False)
        if covers:
            # “Copy” replaces what lies below, transparency included, so the original layers can stay visible.
            group.setBlendingMode("copy")
        _root(self._document).addChildNode(group, None)
        for name in names:
            group.addChildNode(self._document.createNode(name, "paintlayer"), None)
        return group.duplicate()

    def close(self) -> None:
        """Close it without saving."""
        self._document.setModified(False)
        self._document.close()


class WaitingGroup:
    """A hidden group of empty layers on top of the document, filled row by row, then shown.

    Hidden, so that the artist never sees a half-filled stack. Neither `setVisible` nor `setPixelData` is an undo step
    in Krita: adding the group is the only one, and a redo brings the group back with its pixels.
    """

    def __init__(self, canvas: Canvas, scratch: Scratch, names: Sequence[str], covers: bool) -> None:
        """Put the group into the document. covers: hide the layers below it where it is transparent, too."""
        self._canvas = canvas
        group = scratch.group(f"Unflattened {canvas.name}", names, covers)
        _root(canvas.document).addChildNode(group, None)
        self._id = group.uniqueId()
        self._layers = [layer.uniqueId() for layer in group.childNodes()]

    def write(self, rows: LayerRows) -> None:
        """Write a run of rows into layer `rows.index`. Raises GroupRemoved."""
        layer = _find(self._find_group(), self._layers[rows.index])
        if layer is None:
            raise GroupRemoved
        # Krita silently skips a short buffer; the connection hands on whole rows only.
        pixels = QByteArray(rows.buffer)
        pixels.truncate(rows.size)
        layer.setPixelData(pixels, rows.left, rows.top, rows.width, rows.height)

    def show(self) -> None:
        """Show the filled group. Raises GroupRemoved."""
        self._find_group().setVisible(True)
        self.refresh()

    def refresh(self) -> None:
        """Have Krita draw the document anew and count it as changed."""
        document = self._canvas.document
        # setPixelData and setVisible tell neither the canvas nor “unsaved changes?”.
        document.refreshProjection()
        document.setModified(True)

    def take_back(self) -> None:
        """Remove the group again, by undo where adding it is the last thing that was done.

        Not in the same turn of the event loop in which it was added: Krita's window does not know the group yet then,
        and crashes when it is told first that the group is gone.
        """
        app = application()
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

    def _find_group(self) -> Node:
        group = _group(self._canvas.document, self._id)
        if group is None:
            raise GroupRemoved
        return group


def _root(document: Document) -> Node:
    """Raises GroupRemoved where the document was closed."""
    root = document.rootNode()
    if root is None:
        raise GroupRemoved
    return root


def _group(document: Document, unique_id: Id) -> Node | None:
    """The node of that id, wherever the artist has moved it; None where it is gone."""
    root = document.rootNode()
    return _find(root, unique_id) if root is not None else None


def _find(parent: Node, unique_id: Id) -> Node | None:
    # Krita 5.1 has no nodeByUniqueID.
    for node in parent.childNodes():
        if node.uniqueId() == unique_id:
            return node
        if node.type() == "grouplayer":
            found = _find(node, unique_id)
            if found is not None:
                return found
    return None
