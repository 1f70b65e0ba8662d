"""What the installer starts ends with it, however it ends."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[3]
INSTALL = """
import sys
from installer.run import run
from installer.tie import ended_in_order
with ended_in_order():
    run([sys.executable, "-c", "import sys, time; print('begun', file=open(sys.argv[1], 'w')); time.sleep(60)",
        sys.argv[1]], "Installing", "again")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's promise is Linux's")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_pip_does_not_outlive_a_killed_install(tmp_path: Path, how: signal.Signals) -> None:
    began = tmp_path / "began"
    command = [sys.executable, "-c", INSTALL, str(began)]
    install = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 20
    while not began.exists() and time.monotonic() < until:
        time.sleep(0.02)
    [pip] = psutil.Process(install.pid).children()
    install.send_signal(how)
    install.wait(10)
    _, alive = psutil.wait_procs([pip], 5)
    assert alive == []
