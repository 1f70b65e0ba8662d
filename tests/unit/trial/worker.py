"""The bridge's worker with the trial backend registered beside the real ones: what tests start instead."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))
sys.path.append(str(Path(__file__).parents[1]))

from bridge.jobs.worker import main
from trial.backends import register

register()

if __name__ == "__main__":
    main(int(sys.argv[1]))
