"""The real command line with the trial backends registered beside the real ones, and workers that know them too."""

import sys
from functools import partial

from bridge.jobs import supervisor
from tests.unit.trial.bridge import WORKER
from tests.unit.trial.known import register

register()
supervisor.WORKER_COMMAND = WORKER
if "serve" in sys.argv:
    from bridge.server import daemon

    daemon.serve = partial(daemon.serve, worker=WORKER)

if __name__ == "__main__":
    from bridge.cli import main

    main()
