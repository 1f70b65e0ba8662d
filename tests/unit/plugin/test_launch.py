"""Finding the bridge, starting it, and saying in a sentence why it cannot be."""

import errno
import json
import os
import socket
import sys
from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="module")
def plugin(assembled: Path) -> None:
    """Makes `unflatten` importable."""


def write_connection(folder: Path, port: int) -> None:
    told = {"port": port, "pid": os.getpid(), "token": "0" * 64, "version": "0", "started": 0}
    (folder / "bridge.json").write_text(json.dumps(told))


def test_a_connection_file_counts_only_while_its_port_answers(tmp_path: Path) -> None:
    from unflatten.launch import running

    assert running(tmp_path) is None
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        write_connection(tmp_path, port)
        found = running(tmp_path)
        assert found is not None and found.port == port
    # The process that the file names (this one) is alive, but nothing listens any more.
    assert running(tmp_path) is None


def test_the_bridge_sees_nothing_of_kritas_own_python_and_libraries() -> None:
    from unflatten.launch import clean_environment

    krita = {
        "HOME": "/home/artist",
        "APPDIR": "/tmp/.mount_krita",
        "PATH": os.pathsep.join(["/tmp/.mount_krita/usr/bin", "/usr/bin"]),
        "PYTHONPATH": "/tmp/.mount_krita/python",
        "PYTHONHOME": "/tmp/.mount_krita/usr",
        "LD_LIBRARY_PATH": "/tmp/.mount_krita/usr/lib",
        "DYLD_LIBRARY_PATH": "/Applications/krita.app",
        "QT_PLUGIN_PATH": "/tmp/.mount_krita/plugins",
        "SSL_CERT_FILE": "/tmp/.mount_krita/cert.pem",
    }
    assert clean_environment(krita) == {"HOME": "/home/artist", "APPDIR": "/tmp/.mount_krita", "PATH": "/usr/bin"}


def test_a_bridge_that_ends_at_once_is_told_with_its_last_words(tmp_path: Path) -> None:
    from unflatten.errors import UnflattenError
    from unflatten.launch import Installation, find_or_start

    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('No module named bridge')\n")
    program.chmod(0o755)
    started: list[bool] = []
    with pytest.raises(UnflattenError) as error:
        find_or_start(Installation(str(program), tmp_path / "data"), lambda: False, lambda: started.append(True))
    assert started == [True]
    assert "could not start" in error.value.message
    assert "No module named bridge" in error.value.hint


def test_a_missing_program_is_told_in_a_sentence(tmp_path: Path) -> None:
    from unflatten.errors import UnflattenError
    from unflatten.launch import Installation, start

    with pytest.raises(UnflattenError, match="not where it was installed"):
        start(Installation(str(tmp_path / "no-python"), tmp_path / "data"))


def test_the_installation_is_read_from_beside_the_plugin(assembled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from unflatten.launch import Installation

    monkeypatch.delenv("UNFLATTEN_HOME", raising=False)
    assert Installation.read().data == assembled / "data"
    monkeypatch.setenv("UNFLATTEN_HOME", "/elsewhere")
    assert Installation.read().data == Path("/elsewhere")


def test_a_full_disk_is_told_where_no_bridge_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from unflatten.errors import UnflattenError
    from unflatten.launch import Installation, find_or_start

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(UnflattenError, match="The disk is full") as told:
        find_or_start(Installation(sys.executable, tmp_path), lambda: False, lambda: None)
    assert str(tmp_path) in told.value.hint


@pytest.mark.skipif(sys.platform == "win32", reason="quoted as that shell wants it")
def test_commands_are_told_as_they_run_on_this_computer(tmp_path: Path) -> None:
    from unflatten.launch import Installation, in_full

    programs = tmp_path / "my folder" / ".venv" / "bin"
    programs.mkdir(parents=True)
    here = Installation(str(programs / "python"), tmp_path)
    assert in_full("Run “unflatten doctor”.", here) == f"Run “'{programs}/python' -m bridge.cli doctor”."
    (programs / "unflatten").touch()
    (tmp_path / "my folder" / "install.py").touch()
    told = in_full("Run “unflatten doctor” in a terminal, or “python3 install.py --gpu” again.", here)
    installer = tmp_path / "my folder" / "install.py"
    assert told == f"Run “'{programs}/unflatten' doctor” in a terminal, or “python3 '{installer}' --gpu” again."
