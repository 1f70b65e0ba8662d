"""Layers from the bridge → paint layers in a group, which are put into the document whole, in one undo step."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from .canvas import Canvas
from .job import LayerRows
from .krita_api import Document, Node, application
from .qt import QByteArray


class Scratch:
    """A small document without a window, of the canvas's colours, in which the group is built and filled.

    Every addChildNode is an undo step, and what is written into a node is none: so the artist's document is not touched
    until the group is whole, then it gets it as one duplicate. Making and closing a document each take Krita some time:
    both are done while the bridge is at work.
    """

    def __init__(self, canvas: Canvas) -> None:
        document = canvas.document
        self._canvas = canvas
        self._group: Node | None = None
        self._layers: list[Node] = []
        self._arrived: Node | None = None
        self._active: Node | None = None
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

    def build(self, names: Sequence[str], covers: bool) -> None:
        """Make the group of empty paint layers, bottom to top. covers: nothing that lies below it shows through."""
        self._group = self._document.createGroupLayer(f"Unflattened {self._canvas.name}")
        if covers:
            # “Copy” replaces what lies below, all over the canvas and transparency included. Hiding the original layers
            # instead would not be undone with the group: Node.setVisible is no undo step, and nothing in Krita's API
            # puts it and addChildNode into one.
            self._group.setBlendingMode("copy")
        _root(self._document).addChildNode(self._group, None)
        self._layers = [self._document.createNode(name, "paintlayer") for name in names]
        for layer in self._layers:
            self._group.addChildNode(layer, None)

    def write(self, rows: LayerRows) -> None:
        """Write a run of rows into layer `rows.index`."""
        # Krita silently skips a short buffer; the connection hands on whole rows only.
        pixels = QByteArray(rows.buffer)
        pixels.truncate(rows.size)
        self._layers[rows.index].setPixelData(pixels, rows.left, rows.top, rows.width, rows.height)

    def hand_over(self, visible: bool) -> None:
        """Put the filled group on top of the artist's document. A redo brings it back with its pixels, too.

        Adding a group draws nothing of what is in it: `redraw` comes next.
        """
        assert self._group is not None
        self._group.setVisible(visible)
        self._active = self._canvas.document.activeNode()
        # The copy shares its pixels with the original.
        self._arrived = self._group.duplicate()
        _root(self._canvas.document).addChildNode(self._arrived, None)

    def reactivate(self) -> bool:
        """Give the artist the active layer back, once Krita has made the group the active one; whether that is done.

        Krita does so some events after addChildNode, and only in the document that is in front.
        """
        document = self._canvas.document
        if self._arrived is None or self._active is None:
            return True
        active = document.activeNode()
        # Not ==: a node's wrapper also compares the document that it was made in.
        if active is None or active.uniqueId() != self._arrived.uniqueId():
            return False
        document.setActiveNode(self._active)
        return True

    def redraw(self) -> None:
        """Have Krita draw the artist's document anew and count it as changed."""
        self._canvas.document.refreshProjection()
        self._canvas.document.setModified(True)

    def close(self) -> None:
        """Close it without saving."""
        self._group, self._layers = None, []
        self._arrived = self._active = None
        self._document.setModified(False)
        self._document.close()


def _root(document: Document) -> Node:
    root = document.rootNode()
    assert root is not None
    return root
