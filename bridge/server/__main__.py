"""The bridge as Krita's plugin starts it: `unflatten serve` without the command line, which takes long to load."""

import sys
from typing import TextIO

from bridge.connection_file import data_dir
from bridge.server.daemon import serve

if __name__ == "__main__":
    output: TextIO | None = sys.stdout  # under pythonw there is none
    if output is not None:  # a folder's name may hold any letter, a log's encoding may not
        output.reconfigure(errors="replace")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    sys.exit(serve(data_dir()))
