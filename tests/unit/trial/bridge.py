"""A real bridge in its own process, whose worker knows the trial backend."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
WORKER = (sys.executable, str(Path(__file__).with_name("worker.py")))

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from bridge.server.daemon import serve

    sys.exit(serve(Path(sys.argv[1]), worker=WORKER, **json.loads(sys.argv[2])))
