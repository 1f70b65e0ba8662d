"""The real bridge with the scripted worker: what the plugin starts in tests that need a job of a known length."""

import sys

from bridge.backends import registry
from bridge.connection_file import data_dir
from bridge.server.daemon import serve

WORKER = (sys.executable, "-m", "tests.krita.scripted_worker")

if __name__ == "__main__":
    registry.register("builtin", "tests.krita.scripted_worker:Scripted")
    sys.exit(serve(data_dir(), worker=WORKER, grace=2))
