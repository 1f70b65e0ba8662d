"""A real bridge in its own process, whose worker knows the trial backend.

Settings are daemon.serve's, in JSON; `fal`: FalOptions'; `internet`: names of servers → the ports that stand for them;
`loading`: seconds that the engine takes longer to load; `bounds`: full names of constants → what they are instead,
so that a test waits less long for the same.
"""

import json
import sys
import time
from importlib import import_module
from pathlib import Path
from types import ModuleType

BRIDGE = (sys.executable, "-m", "tests.unit.trial.bridge")
"""Starts it; the data folder and the settings come after."""
WORKER = (sys.executable, "-m", "tests.unit.trial.worker")

if __name__ == "__main__":
    from bridge.server import daemon
    from bridge.server.fal_api import FalOptions
    from tests.unit.trial.known import register

    register()

    settings = json.loads(sys.argv[2])
    if "fal" in settings:
        settings["fal"] = FalOptions(**settings["fal"])
    if internet := settings.pop("internet", None):
        from tests.unit.trial.internet import pretend

        pretend(internet)
    for name, value in settings.pop("bounds", {}).items():
        module, _, constant = name.rpartition(".")
        assert hasattr(import_module(module), constant)
        setattr(import_module(module), constant, value)
    if seconds := settings.pop("loading", None):
        load = daemon.import_module

        def load_slowly(name: str) -> ModuleType:
            time.sleep(seconds)
            return load(name)

        daemon.import_module = load_slowly
    sys.exit(daemon.serve(Path(sys.argv[1]), worker=WORKER, **settings))
