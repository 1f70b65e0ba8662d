"""Small pictures of layers that are still being made, in the job's folder."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from bridge.backends.base import Preview
from bridge.files.disk import write_whole

NAME = re.compile(r"preview-(\d+)\.bin")


def write(folder: Path, preview: Preview) -> dict[str, Any]:
    """Write the newest preview, in place of the one before; what is told of it: layers, width, height, path.

    Raises OutOfSpace.
    """
    older = {int(found[1]): path for path in folder.glob("preview-*.bin") if (found := NAME.fullmatch(path.name))}
    path = folder / f"preview-{max(older, default=0) + 1}.bin"
    write_whole(path, [np.ascontiguousarray(image).tobytes() for image in preview.images])
    for each in older.values():
        each.unlink(missing_ok=True)
    height, width = preview.images[0].shape[:2]
    return {"layers": len(preview.images), "width": width, "height": height, "path": str(path)}
