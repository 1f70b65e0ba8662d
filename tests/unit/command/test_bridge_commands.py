"""`unflatten serve`, `stop`, `status` and `doctor`, and what every command has in common."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from bridge.connection_file import CONNECTION_FILE, Connection, read_connection
from installer.environment import Environment
from installer.plugin import ROOT, assemble
from tests.unit.command.running import CommandLine, shapes


@pytest.fixture
def unflatten(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


def wait_for_bridge(unflatten: CommandLine, process: subprocess.Popen[str]) -> Connection:
    until = time.monotonic() + 20
    while (found := read_connection(unflatten.data)) is None:
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    return found


def test_without_a_bridge(unflatten: CommandLine) -> None:
    told = unflatten("status")
    assert told.returncode == 1 and told.stdout.startswith("The bridge is not running.")
    assert json.loads(unflatten("status", "--json").stdout) == {"running": False}
    stopped = unflatten("stop")
    assert (stopped.returncode, stopped.stdout) == (0, "not running\n")
    assert not unflatten.data.exists()


def test_serve_status_stop(unflatten: CommandLine) -> None:
    process = unflatten.start("serve")
    try:
        connection = wait_for_bridge(unflatten, process)
        told = unflatten("status")
        assert (
            told.returncode == 0 and f"runs (process {connection.pid})" in told.stdout and "Jobs: none" in told.stdout
        )
        assert connection.token not in told.stdout
        told = json.loads(unflatten("status", "--json").stdout)
        assert told["running"] is True and told["pid"] == connection.pid
        second = unflatten("serve")
        assert second.returncode == 0 and f"already running (process {connection.pid}" in second.stdout
        assert read_connection(unflatten.data) == connection
        assert unflatten("stop").stdout == "stopped\n"
        assert process.wait(20) == 0
        assert not (unflatten.data / CONNECTION_FILE).exists()
        assert unflatten("status").returncode == 1
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=10)


def test_a_bridge_that_was_killed_is_not_taken_for_running(unflatten: CommandLine) -> None:
    process = unflatten.start("serve")
    wait_for_bridge(unflatten, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=10)
    assert (unflatten.data / CONNECTION_FILE).exists()
    assert unflatten("status").returncode == 1
    assert "tells of a bridge that does not answer" in unflatten("doctor").stdout


def test_doctor_with_the_plugin_missing_placed_and_off(unflatten: CommandLine) -> None:
    resources, settings = unflatten.home / ".local/share/krita", unflatten.home / ".config/kritarc"
    resources.mkdir(parents=True)  # as a Krita that was started once leaves it
    told = unflatten("doctor", "--json")
    assert told.returncode == 0, told.stdout
    found = json.loads(told.stdout)
    assert found["healthy"] and all(finding["well"] for finding in found["needed"])
    [krita] = [finding for finding in found["optional"] if finding["what"].startswith("Krita")]
    assert (krita["told"], krita["well"]) == ("the plugin is not in it", False)
    assert "install.py" in krita["remedy"]
    assert found["places"]["Data and results"] == str(unflatten.data)
    assert unflatten.names() == set()  # looking changes nothing

    assemble(resources / "pykrita", Environment(ROOT), unflatten.data)
    assert "turned off" in unflatten("doctor").stdout
    settings.parent.mkdir()
    settings.write_text("[python]\nenable_unflatten=true\n")
    told = unflatten("doctor").stdout
    assert "the plugin is there and turned on" in told and told.splitlines()[-1] == "All is well."
    assert "  --  Splitter “fal”: Pictures may not be sent to fal: you have not allowed it yet." in told, (
        "off is no fault"
    )

    settings_file = resources / "pykrita" / "unflatten" / "bridge.json"
    settings_file.write_text(json.dumps({"python": "/elsewhere/.venv/bin/python", "data": ""}))
    told = unflatten("doctor").stdout
    assert "  !!  " in told and "starts another copy of Unflatten" in told and "All is well" not in told
    assert told.splitlines()[-1] == "All that is needed is there; the lines with !! say what else is to be done."


def test_doctor_without_krita_and_with_damaged_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process: neither this machine's Krita nor its weights can be taken away for a test."""
    from bridge import weights
    from bridge.command import doctor
    from bridge.krita import places

    (tmp_path / "backends").mkdir()
    (tmp_path / "backends" / "weights.json").write_text('{"model.onnx": {"sha256": "00"}}')
    monkeypatch.setattr(weights, "__file__", str(tmp_path / "weights.py"))
    monkeypatch.setattr(places, "find", list)
    monkeypatch.setenv("UNFLATTEN_HOME", str(tmp_path / "data"))
    found = doctor.examine()
    told = doctor.report(found)
    assert not found.healthy and "Krita: not found" in told
    assert "Weights model.onnx" in told and "is missing" in told and "Get a complete copy of Unflatten." in told
    assert told.splitlines()[-1] == "Something that is needed is missing: see the lines with !!."


def test_help_names_every_command_and_loads_nothing_heavy(unflatten: CommandLine) -> None:
    began = time.perf_counter()
    told = unflatten("--help")
    print(f"unflatten --help: {time.perf_counter() - began:.2f} s")  # a figure, not a promise
    assert told.returncode == 0
    for command in ("split", "batch", "serve", "stop", "status", "doctor", "set", "key", "fal-env"):
        assert f"  {command}" in told.stdout
    loaded = subprocess.run(
        [unflatten.words()[0], "-X", "importtime", "-m", "bridge.cli", "--help"],
        cwd=ROOT,
        env=unflatten.environment(),
        capture_output=True,
        text=True,
    ).stderr
    assert "typer" in loaded
    for heavy in ("numpy", "cv2", "onnxruntime", "pydantic", "PIL"):
        assert not [line for line in loaded.splitlines() if line.rpartition("|")[2].strip().split(".")[0] == heavy]


def test_the_version(unflatten: CommandLine) -> None:
    from bridge import __version__

    assert unflatten("--version").stdout == f"unflatten {__version__}\n"


def test_a_reader_that_has_gone_is_no_error_to_speak_of(unflatten: CommandLine) -> None:
    shapes(unflatten.folder / "a.png")
    process = unflatten.start("doctor")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    told = process.stderr.read()
    process.wait(30)
    process.stderr.close()
    assert "Traceback" not in told
