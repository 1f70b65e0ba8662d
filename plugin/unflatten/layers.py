"""Layers from the bridge → paint layers in a group, which arrives in one undo step and fills as the pixels come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from krita import Krita

from .canvas import Canvas
from .connection import Rows
from .qt import QByteArray


class Vanished(Exception):
    """The group is no longer in the document: the artist undid it or deleted it."""


class WaitingGroup:
    """A hidden group of empty layers on top of the document, filled row by row, then shown.

    Hidden, so that the picture on the canvas never passes through a half-filled stack. Neither `setVisible` nor
    `setPixelData` is an undo step in Krita: the one step is the group's arrival, and a redo brings back what it became.
    """

    def __init__(self, canvas: Canvas, names: Sequence[str], covers: bool) -> None:
        """Put the group into the document. covers: keep what lies below from showing through clear places."""
        self._canvas = canvas
        group = _arrive(canvas, f"Unflattened {canvas.name}", names, covers)
        self._id = group.uniqueId()
        self._layers = [layer.uniqueId() for layer in group.childNodes()]

    def write(self, rows: Rows) -> None:
        """Write a run of rows into layer `rows.index`. Raises Vanished."""
        layer = _find(self._find_group(), self._layers[rows.index])
        if layer is None:
            raise Vanished
        # Krita silently skips a short buffer; the connection hands on whole rows only.
        layer.setPixelData(QByteArray(rows.pixels), rows.left, rows.top, rows.width, rows.height)

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
        """Remove the group again, by undoing its arrival where that is the last thing that was done."""
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


def _arrive(canvas: Canvas, title: str, names: Sequence[str], covers: bool) -> Any:
    """Every addChildNode is an undo step: the group is built in a scratch document and its duplicate added in one."""
    document = canvas.document
    # The scratch document's size does not matter to its empty layers: small, it costs nothing.
    scratch = Krita.instance().createDocument(
        16, 16, "", document.colorModel(), document.colorDepth(), document.colorProfile(), document.resolution()
    )
    scratch.setBatchmode(True)
    try:
        group = scratch.createGroupLayer(title)
        group.setVisible(False)
        if covers:
            # “Copy” replaces what lies below, transparency included, so the original layers can stay visible.
            group.setBlendingMode("copy")
        scratch.rootNode().addChildNode(group, None)
        for name in names:
            group.addChildNode(scratch.createNode(name, "paintlayer"), None)
        duplicate = group.duplicate()
        document.rootNode().addChildNode(duplicate, None)
    finally:
        scratch.setModified(False)
        scratch.close()
    return duplicate


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
