"""A real bridge in its own process, whose worker knows the trial backend.

Settings are daemon.serve's, in JSON; `fal`: FalOptions'; `internet`: names of servers → the ports that stand for them.
"""

import json
import sys
from pathlib import Path

BRIDGE = (sys.executable, "-m", "tests.unit.trial.bridge")
"""Starts it; the data folder and the settings come after."""
WORKER = (sys.executable, "-m", "tests.unit.trial.worker")

if __name__ == "__main__":
    from bridge.server.daemon import FalOptions, serve
    from tests.unit.trial.backends import register

    register()

    settings = json.loads(sys.argv[2])
    if "fal" in settings:
        settings["fal"] = FalOptions(**settings["fal"])
    if internet := settings.pop("internet", None):
        from tests.unit.trial.internet import pretend

        pretend(internet)
    sys.exit(serve(Path(sys.argv[1]), worker=WORKER, **settings))
