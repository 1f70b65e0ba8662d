"""The bridge's worker with the trial backend registered beside the real ones: what tests start instead."""

import sys

from bridge.jobs.worker import main
from tests.unit.trial.known import register

register()

if __name__ == "__main__":
    main(int(sys.argv[1]))
