"""The real command line with trial backends registered beside the real ones; batch's processes load this file too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))
sys.path.append(str(Path(__file__).parents[1]))

from bridge.backends import base

base.register("trial", "trial.backends:Trial")
base.register("slow", "trial.tempers:Slow")
base.register("dying", "trial.tempers:Dying")

if __name__ == "__main__":
    from bridge.cli import main

    main()
