"""A real bridge in its own process, whose worker knows the trial backend.

Settings are daemon.serve's, in JSON; `fal`: FalOptions'; `internet`: names of servers → the ports that stand for them.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
WORKER = (sys.executable, str(Path(__file__).with_name("worker.py")))

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.path.append(str(Path(__file__).parents[1]))
    from trial.backends import register

    from bridge.server.daemon import FalOptions, serve

    register()

    settings = json.loads(sys.argv[2])
    if "fal" in settings:
        settings["fal"] = FalOptions(**settings["fal"])
    if internet := settings.pop("internet", None):
        from trial.internet import pretend

        pretend(internet)
    sys.exit(serve(Path(sys.argv[1]), worker=WORKER, **settings))
