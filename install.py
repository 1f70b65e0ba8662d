#!/usr/bin/env python3
"""Sets Unflatten up: python3 install.py. Run it again to update; --help tells the rest.

Only this file is read by a Python that is too old, so its syntax is plain enough for any, and it says what is missing.
"""

import sys

OLDEST = (3, 9)

if __name__ == "__main__":
    if sys.version_info < OLDEST:
        sys.exit(
            "Unflatten needs Python 3.11 or newer, and this is Python %d.%d.\n"
            "Next: install a newer Python, then run this again with it, for example: python3.12 install.py"
            % sys.version_info[:2]
        )
    # Nothing of ours is left behind in the folder: no compiled copies of the installer's own files.
    sys.dont_write_bytecode = True
    from installer.journey import main

    sys.exit(main(sys.argv[1:]))
