"""Runs inside kritarunner: what Krita makes of files, written down for the test beside it."""

import json
import os
from pathlib import Path

from krita import Krita  # pyright: ignore[reportAttributeAccessIssue]  # Krita's own module, not this folder


def run(arguments):
    Krita.instance().setBatchmode(True)
    for name in arguments:
        document = Krita.instance().openDocument(name)
        document.setBatchmode(True)
        document.refreshProjection()
        document.waitForDone()
        told = {"size": [document.width(), document.height()], "layers": []}
        told |= {"profile": document.colorProfile(), "depth": document.colorDepth()}
        Path(name + ".flat").write_bytes(bytes(document.pixelData(0, 0, document.width(), document.height())))
        for index, node in enumerate(document.rootNode().childNodes()):
            bounds = node.bounds()
            rect = [bounds.x(), bounds.y(), bounds.width(), bounds.height()]
            Path(f"{name}.{index}").write_bytes(bytes(node.pixelData(*rect)))
            told["layers"].append(
                {
                    "name": node.name(),
                    "rect": rect,
                    "visible": node.visible(),
                    "profile": node.colorProfile(),
                    "depth": node.colorDepth(),
                }
            )
        Path(name + ".json").write_text(json.dumps(told))
        document.close()
    os._exit(0)  # kritarunner may abort on its way out, with everything written
