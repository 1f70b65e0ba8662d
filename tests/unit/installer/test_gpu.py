"""--gpu: which accelerator is found, what is asked and said, what is made of which lock, and how it goes away."""

import json
import sys
from pathlib import Path

import pytest

from installer import accelerators, gpu, gpu_environment, testing
from installer.accelerators import ALL, named
from installer.environment import STAMP, Environment
from installer.gpu_environment import MARK, GpuEnvironment
from installer.plugin import ROOT
from installer.say import Failure


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for lock in (
        "pyproject.toml",
        "requirements-dev.lock",
        *(path.name for path in ROOT.glob("requirements-gpu*.lock")),
    ):
        (tmp_path / lock).write_bytes((ROOT / lock).read_bytes())
    monkeypatch.setattr("shutil.which", lambda name: None)
    return tmp_path


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What would have been run, with nothing at hand and no index in reach."""
    ran: list[list[str]] = []
    monkeypatch.setattr("installer.environment.run", lambda words, *_: ran.append([str(word) for word in words]))
    monkeypatch.setattr(gpu_environment, "run", lambda words, *_: ran.append([str(word) for word in words]))
    monkeypatch.setattr(gpu_environment, "answer", lambda *_: None)
    monkeypatch.setattr(gpu_environment, "_answers", lambda url: False)
    return ran


def environment(root: Path, name: str) -> GpuEnvironment:
    return GpuEnvironment(root, named(name))


def locks(commands: list[list[str]]) -> list[str]:
    return [Path(word).name for command in commands for word in command if word.endswith(".lock")]


def nothing(*_: object) -> None:
    return None


def test_no_gpu_says_so_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerators, "find", nothing)
    with pytest.raises(Failure, match="No GPU was found") as told:
        named("auto")
    assert "cuda|rocm|xpu|mps" in told.value.next_step


@pytest.mark.parametrize(
    ("platform", "machine", "there", "found"),
    [
        ("darwin", "arm64", "", "mps"),
        ("darwin", "x86_64", "", None),
        ("linux", "x86_64", "nvidia-smi", "cuda"),
        ("linux", "x86_64", "xpu-smi", "xpu"),
        ("win32", "AMD64", "nvidia-smi", "cuda"),
    ],
)
def test_accelerators_are_found_by_their_tools(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, platform: str, machine: str, there: str, found: str | None
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("shutil.which", lambda name: name if name == there else None)
    monkeypatch.setattr(
        accelerators, "answer", lambda words, seconds: "GPU 0, Device ID 0" if words[0] == there else None
    )
    monkeypatch.setattr(accelerators, "Path", lambda path: tmp_path / path.lstrip("/"))
    monkeypatch.setattr(accelerators, "GRAPHICS", tmp_path / "drm")
    assert accelerators.find() == found


def test_intels_cards_are_told_from_what_its_processors_have_built_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr(accelerators, "GRAPHICS", tmp_path / "drm")
    for number, (vendor, place) in enumerate([("0x8086", "0000:00:02.0"), ("0x1002", "0000:05:00.0")]):
        _card(tmp_path, number, vendor, place)
    assert not accelerators.has_intel()
    _card(tmp_path, 2, "0x8086", "0000:03:00.0")
    assert accelerators.has_intel()


def _card(folder: Path, number: int, vendor: str, place: str) -> None:
    (folder / place).mkdir()
    (folder / place / "vendor").write_text(vendor + "\n")
    (folder / "drm" / f"card{number}").mkdir(parents=True)
    (folder / "drm" / f"card{number}" / "device").symlink_to(folder / place)


def test_an_old_driver_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    for told, old in (("535.12.01", 535), ("580.65", None), (None, None)):
        monkeypatch.setattr(accelerators, "answer", lambda words, seconds, told=told: told)
        assert accelerators.old_driver() == old


@pytest.mark.skipif(sys.platform != "linux", reason="the locks differ by system")
def test_each_accelerator_has_its_locks(root: Path, commands: list[list[str]]) -> None:
    environment(root, "cuda")._install_locked(dev=False)
    assert locks(commands) == ["requirements-gpu.lock", "requirements-gpu-cuda.lock"]
    assert all("--require-hashes" in command and "--no-deps" in command for command in commands)


@pytest.mark.skipif(sys.platform != "linux", reason="the locks differ by system")
def test_for_a_processor_the_wheel_at_hand_is_tried_before_the_large_one(
    root: Path, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(root, "cpu")._install_locked(dev=False)
    assert locks(commands) == ["requirements-gpu.lock", "requirements-gpu-cpu.lock", "requirements-gpu-cuda.lock"]
    commands.clear()
    (root / ".venv-gpu").mkdir()
    asked: list[list[str]] = []
    monkeypatch.setattr(
        gpu_environment, "answer", lambda words, seconds: asked.append([str(word) for word in words]) or ""
    )
    environment(root, "cpu")._install_locked(dev=True)
    assert "--no-index" in asked[0] and "--require-hashes" in asked[0]
    assert locks(commands) == ["requirements-gpu.lock", "tests.lock"]
    tests = (root / ".venv-gpu" / "tests.lock").read_text()
    assert "pytest==" in tests and "pytest-timeout==" in tests and "--hash=sha256:" in tests


def test_what_only_pytorchs_index_has_is_taken_by_its_exact_version(
    root: Path, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_environment, "_newest_build", lambda version, kind: f"{kind}7.2")
    environment(root, "rocm")._install_locked(dev=False)
    assert locks(commands) == ["requirements-gpu.lock"]
    assert "torch==2.13.0+rocm7.2" in commands[-1] and "https://download.pytorch.org/whl/rocm7.2" in commands[-1]
    assert "--only-binary" in commands[-1]


def test_pytorchs_index_is_read_for_its_newest_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = tmp_path / "torch"
    names = ("2.13.0%2Brocm6.4", "2.13.0%2Brocm10.1", "2.13.0%2Brocm7.2", "2.12.0%2Brocm11.0", "2.13.0%2Bcu130")
    page.mkdir()
    (page / "index.html").write_text("".join(f'<a href="/whl/torch-{name}-cp311-cp311-linux.whl">' for name in names))
    real = gpu_environment.urllib.request.urlopen
    monkeypatch.setattr(
        gpu_environment.urllib.request, "urlopen", lambda url, timeout: real((page / "index.html").as_uri())
    )
    assert gpu_environment._newest_build("2.13.0", "rocm") == "rocm10.1"
    with pytest.raises(Failure, match="no wheel"):
        gpu_environment._newest_build("2.13.0", "xpu")


def test_it_asks_says_how_much_and_takes_no_for_an_answer(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Failure, match="no terminal") as told:
        gpu.wished(root, "rocm", yes=False)
    assert "--yes" in told.value.next_step
    made = gpu.wished(root, "rocm", yes=True)
    assert made and made.accelerator.name == "rocm"
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    for answer, agreed in (("", False), ("n", False), ("Y", True), ("yes", True)):
        monkeypatch.setattr("builtins.input", lambda question, answer=answer: answer)
        assert bool(gpu.wished(root, "rocm", yes=False)) == agreed
    assert "About 5 GB of packages are to be fetched" in capsys.readouterr().out


def test_a_disk_that_is_too_small(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = gpu.shutil.disk_usage(root)
    monkeypatch.setattr(gpu.shutil, "disk_usage", lambda path: usage._replace(free=10**9))
    with pytest.raises(Failure, match="does not fit"):
        gpu.wished(root, "cuda", yes=True)


def test_without_gpu_only_what_is_there_is_brought_up_to_date(root: Path) -> None:
    assert gpu.wished(root, None, yes=False) is None
    (root / ".venv-gpu").mkdir()
    (root / ".venv-gpu" / MARK).write_text("xpu")
    for asked in (None, "auto", "xpu"):  # no question: it was agreed before
        there = gpu.wished(root, asked, yes=False)
        assert there and there.accelerator.name == "xpu" and not there.up_to_date
    other = gpu.wished(root, "cpu", yes=True)
    assert other and other.accelerator.name == "cpu"


def test_another_accelerator_means_another_environment_and_the_bridges_is_not_touched(root: Path) -> None:
    cpu, cuda = environment(root, "cpu"), environment(root, "cuda")
    assert cuda._is_updatable(cuda.wanted(False)) and not cuda._is_updatable(cpu.wanted(False))
    assert cpu.folder != Environment(root).folder
    assert cpu.wanted(False)["inputs"] != cuda.wanted(False)["inputs"]


def test_it_is_up_to_date_only_with_its_stamp_and_its_python(root: Path) -> None:
    made = environment(root, "cpu")
    made.python.parent.mkdir(parents=True)
    made.python.write_text("")
    assert not made.up_to_date
    (made.folder / STAMP).write_text(json.dumps(made.wanted(dev=True)))
    assert made.up_to_date
    (root / "requirements-gpu.lock").write_text("torch==3.0\n")
    assert not made.up_to_date


def test_uninstalling_takes_it_away_and_says_what_models_stay(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models = root / "models"
    (models / "parts").mkdir(parents=True)
    with open(models / "parts" / "large", "wb") as file:
        file.truncate(3 * 10**9)
    monkeypatch.setenv("UNFLATTEN_MODELS", str(models))
    (root / ".venv-gpu").mkdir()
    (root / ".venv-gpu" / MARK).write_text("cuda")
    gpu.take_away(root)
    assert not (root / ".venv-gpu").exists() and (models / "parts" / "large").exists()
    told = capsys.readouterr().out
    assert "Removed the environment for models (.venv-gpu)." in told and f"Models stay in {models} (3.0 GB)" in told


def test_something_else_of_that_name_stays(root: Path) -> None:
    (root / ".venv-gpu").mkdir()
    (root / ".venv-gpu" / "diary.txt").write_text("mine")
    gpu.take_away(root)
    assert (root / ".venv-gpu" / "diary.txt").is_file()


@pytest.mark.parametrize(("fails", "code"), [(False, 0), (True, 1)])
def test_the_tests_of_models_wait_for_their_environment(
    root: Path, monkeypatch: pytest.MonkeyPatch, fails: bool, code: int
) -> None:
    def make(self: GpuEnvironment, dev: bool) -> None:
        assert dev
        if fails:
            raise Failure("It could not be made.", "mend that.")

    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(GpuEnvironment, "make", make)
    monkeypatch.setattr(testing, "_run_module", lambda environment, *words: ran.append(words) or 0)
    assert testing.GpuTests(root).run() == code
    assert ran == ([] if fails else [("pytest", "tests/gpu")])


def test_every_accelerator_is_told_of_in_words() -> None:
    assert {each.name for each in ALL} == set(gpu.SEES)
