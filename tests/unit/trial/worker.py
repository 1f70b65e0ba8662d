"""The bridge's worker with the trial backend registered beside the real ones: what tests start instead.

It looks more often than the real one at whether another program needs its model's memory.
"""

import sys

from bridge.jobs import worker
from tests.unit.trial.known import register

register()
worker.LOOK_EVERY = 0.2

if __name__ == "__main__":
    worker.main(int(sys.argv[1]))
