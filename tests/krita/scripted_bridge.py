"""The real bridge with the scripted worker: what the plugin starts in tests that need a job of a known length."""

import sys
from pathlib import Path

from bridge.connection_file import data_dir
from bridge.server.daemon import serve

if __name__ == "__main__":
    worker = [sys.executable, str(Path(__file__).with_name("scripted_worker.py"))]
    sys.exit(serve(data_dir(), worker=worker, grace=2))
