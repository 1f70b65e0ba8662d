"""`unflatten split`: every kind of output, and every way to be refused."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from psd_tools import PSDImage

from tests.unit.command.running import CommandLine, Here, shapes


def refused(unflatten: CommandLine | Here, *arguments: object) -> list[str]:
    """The lines of a refusal: a sentence and a hint, no more, and nothing new in the folder."""
    before = unflatten.names()
    ended = unflatten("split", *arguments)
    assert ended.returncode == 1 and ended.stdout == ""
    lines = ended.stderr.splitlines()
    assert len(lines) == 2 and all(line.endswith(".") for line in lines), ended.stderr
    assert unflatten.names() == before
    return lines


# The built-in splitter, as users run it


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[CommandLine, list[subprocess.CompletedProcess[str]]]:
    """The same picture split twice with one seed, the second time for programs."""
    command = CommandLine(tmp_path_factory.mktemp("with spaces é"))
    shapes(command.folder / "shapes.png")
    first = command("split", "shapes.png", "-o", "first.ora", "--seed", "7", "--sheet", "sheet.png")
    second = command("split", "shapes.png", "-o", "second.ora", "--seed", "7", "--json")
    return command, [first, second]


Twice = tuple[CommandLine, list[subprocess.CompletedProcess[str]]]


def test_the_layers_are_told_from_the_top_down(twice: Twice) -> None:
    _, [first, _] = twice
    assert first.returncode == 0, first.stderr
    *names, last = first.stdout.splitlines()
    assert names[-1].strip() == "Background" and len(names) >= 3
    assert last.startswith(f"{len(names)} layers, top to bottom, saved in first.ora")
    assert first.stderr == ""


def test_json_is_all_that_is_printed_for_programs(twice: Twice) -> None:
    command, [_, second] = twice
    told = json.loads(second.stdout)
    assert (told["picture"], told["output"]) == ("shapes.png", "second.ora")
    assert told["report"]["seed"] == 7 and told["report"]["max_error"] <= 1
    with zipfile.ZipFile(command.folder / "second.ora") as archive:
        assert len([name for name in archive.namelist() if name.startswith("data/")]) == len(told["layers"])
    assert told["layers"][0] == {"name": "Background", "kind": "background", "rect": [0, 0, 320, 240]}


def test_the_same_seed_gives_the_same_bytes(twice: Twice) -> None:
    command, _ = twice
    first, second = (command.folder / name for name in ("first.ora", "second.ora"))
    assert second.stat().st_mtime - first.stat().st_mtime > 2  # a zip file's clock counts in twos
    assert first.read_bytes() == second.read_bytes()


def test_the_sheet_shows_picture_and_layers(twice: Twice) -> None:
    command, _ = twice
    with Image.open(command.folder / "sheet.png") as sheet:
        assert sheet.width > 640 and len(sheet.convert("RGB").getcolors(1 << 24) or []) > 50


def test_nothing_is_left_in_the_users_home_and_nobody_is_told(twice: Twice) -> None:
    """A model runner that reports to its maker keeps a number for this computer there."""
    command, _ = twice
    assert [path for path in command.home.rglob("*") if path.is_file()] == []
    assert command.names() == {"shapes.png", "first.ora", "second.ora", "sheet.png"}


# Formats and settings, with the trial backend: the rest of the journey is the same


def test_psd(unflatten: CommandLine) -> None:
    shapes(unflatten.folder / "a.png")
    ended = unflatten("split", "a.png", "-o", "a.psd", "--backend", "trial", "--layers", "3")
    assert ended.returncode == 0, ended.stderr
    psd = PSDImage.open(unflatten.folder / "a.psd")
    assert psd.size == (320, 240) and next(layer.name for layer in psd) == "Background" and len(psd) == 3


def test_a_folder_of_png_files(unflatten: CommandLine) -> None:
    source = shapes(unflatten.folder / "a.png")
    ended = unflatten("split", "a.png", "-o", "layers/", "--backend", "trial", "--layers", "3")
    assert ended.returncode == 0, ended.stderr
    listed = json.loads((unflatten.folder / "layers" / "stack.json").read_text())["layers"]
    flat = Image.open(unflatten.folder / "layers" / listed[0]["file"])
    for layer in listed[1:]:
        flat.alpha_composite(Image.open(unflatten.folder / "layers" / layer["file"]))
    np.testing.assert_array_equal(np.asarray(flat.convert("RGB")), np.asarray(Image.open(source)))


@pytest.mark.parametrize("output", ["{}.psd", "{}/"])
def test_the_other_formats_are_the_same_the_second_time_too(here: Here, output: str) -> None:
    shapes(here.folder / "a.png")

    def saved(name: str) -> list[bytes]:
        assert here("split", "a.png", "-o", output.format(name), "--backend", "trial", "--seed", "1").returncode == 0
        path = here.folder / output.format(name)
        return [file.read_bytes() for file in sorted(path.iterdir())] if path.is_dir() else [path.read_bytes()]

    assert saved("second") == saved("first")


def test_nothing_is_replaced_unless_forced(here: Here) -> None:
    shapes(here.folder / "a.png")
    (here.folder / "a.ora").write_text("mine")
    (here.folder / "layers").mkdir()
    (here.folder / "layers" / "mine.txt").write_text("mine")
    assert "is there already" in refused(here, "a.png", "-o", "a.ora", "--backend", "trial")[0]
    assert "is there already" in refused(here, "a.png", "-o", "layers/", "--backend", "trial")[0]
    assert (here.folder / "a.ora").read_text() == "mine"
    for output in ("a.ora", "layers/"):
        assert here("split", "a.png", "-o", output, "--backend", "trial", "--force").returncode == 0
    assert zipfile.is_zipfile(here.folder / "a.ora")
    assert (here.folder / "layers" / "mine.txt").read_text() == "mine"


def test_the_picture_itself_is_never_replaced(here: Here) -> None:
    shapes(here.folder / "a.png")
    assert here("split", "a.png", "-o", "a.ora", "--backend", "trial").returncode == 0
    before = (here.folder / "a.ora").read_bytes()
    assert "the picture itself" in refused(here, "a.ora", "-o", "./a.ora", "--force", "--backend", "trial")[0]
    sheet = ("--sheet", "a.png", "--force", "--backend", "trial")
    assert "the picture itself" in refused(here, "a.png", "-o", "b.ora", *sheet)[0]
    assert (here.folder / "a.ora").read_bytes() == before


def test_a_link_to_the_picture_is_the_picture(here: Here) -> None:
    assert shapes(here.folder / "a.png")
    (here.folder / "a.png").rename(here.folder / "real.ora")
    (here.folder / "a.ora").symlink_to("real.ora")
    assert "the picture itself" in refused(here, "real.ora", "-o", "a.ora", "--force", "--backend", "trial")[0]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("-o", "a.kra"), "kritarunner"),
        (("-o", "a.gif"), "“.gif”"),
        (("-o", "nowhere/a.ora"), "no folder nowhere"),
        (("-o", "a.ora", "--layers", "0"), "“--layers 0”"),
        (("-o", "a.ora", "--layers", "11"), "from 1 to 10"),
        (("-o", "a.ora", "--layers", "many"), "from 1 to 10 or auto"),
        (("-o", "a.ora", "--steps", "51"), "“--steps 51” cannot be used. Use a whole number from 1 to 50."),
        (
            ("-o", "a.ora", "--guidance-scale", "0.5"),
            "“--guidance-scale 0.5” cannot be used. Use a number from 1 to 20.",
        ),
        (("-o", "a.ora", "--seed", "-1"), "“--seed -1” cannot be used. Use a whole number from 0 to 2147483647."),
        (("-o", "a.ora", "--acceleration", "warp"), "Use none or regular or high."),
        (("-o", "a.ora", "--option", "shade"), "“--option shade” gives no option a value."),
        (
            ("-o", "a.ora", "--option", "colour=1"),
            "The backend “builtin” has no option “colour”. It has no options of its own.",
        ),
        (("-o", "a.ora", "--backend", "nobody"), "nobody"),
        (("-o", "a.ora", "--sheet", "a.jpg"), "End its name in .png"),
    ],
)
def test_a_wish_that_cannot_be_met(here: Here, arguments: tuple[str, ...], told: str) -> None:
    shapes(here.folder / "a.png")
    assert told in " ".join(refused(here, "a.png", *arguments))


# Pictures that are none

BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "There is no file"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "words": (lambda path: path.write_text("no picture"), "is not a picture"),
    "truncated": (lambda path: path.write_bytes(shapes(path).read_bytes()[:900]), "is damaged"),
    "corrupt": (lambda path: path.write_bytes(_scrambled(shapes(path).read_bytes())), "is damaged"),
    "bomb": (lambda path: Image.new("1", (12_000, 12_000)).save(path), "too large"),
    "tiny": (lambda path: Image.new("RGB", (1, 1)).save(path), "too small"),
    "transparent": (lambda path: Image.new("RGBA", (64, 64)).save(path), "fully transparent"),
    "folder": (lambda path: path.mkdir(), "unflatten batch"),
}


def _scrambled(png: bytes) -> bytes:
    """The first part of the pixels' data turned over, everything else as it was."""
    start = png.index(b"IDAT") + 10
    return png[:start] + bytes(255 - byte for byte in png[start : start + 200]) + png[start + 200 :]


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_picture_gets_a_sentence_and_a_hint(here: Here, kind: str) -> None:
    make, told = BAD[kind]
    make(here.folder / "a.png")
    assert told in " ".join(refused(here, "a.png", "-o", "a.ora", "--backend", "trial"))


def test_programs_get_the_same_as_json(here: Here) -> None:
    ended = here("split", "a.png", "-o", "a.ora", "--json")
    error = json.loads(ended.stdout)["error"]
    assert ended.returncode == 1 and error["code"] == "bad_picture"
    assert error["message"] in ended.stderr and error["hint"] in ended.stderr


# Ends before the end


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it_at_once_and_leaves_nothing(unflatten: CommandLine, number: signal.Signals) -> None:
    shapes(unflatten.folder / "a.png")
    before = unflatten.names()
    process = unflatten.start("split", "a.png", "-o", "a.ora", "--backend", "trial", "--prompt", "slow 60")
    unflatten.wait_for_work(process, 1)
    os.killpg(process.pid, number)
    asked = time.monotonic()
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130 and time.monotonic() - asked < 10
    assert out == "" and err.splitlines() == ["Cancelled."]
    assert unflatten.names() == before


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 KB. Mounting one needs root, which the tests' machine gives."""
    mount = tmp_path / "disk"
    mount.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(mount)], capture_output=True)
    if made.returncode != 0:
        pytest.skip("no right to mount a small disk here; the test with a file size limit runs everywhere")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


@pytest.mark.parametrize("name", ["a.ora", "a.psd", "layers/"])
def test_a_full_disk(here: Here, full_disk: Path, name: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (300, 300, 3), np.uint8)
    Image.fromarray(noise).save(here.folder / "a.png")
    lines = refused(here, "a.png", "-o", full_disk / name, "--backend", "trial")
    assert "The disk is full" in lines[0] and "Free some space" in lines[1]
    assert list(full_disk.iterdir()) == []


def test_a_full_disk_leaves_the_older_file_as_it_was(here: Here, full_disk: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (300, 300, 3), np.uint8)
    Image.fromarray(noise).save(here.folder / "a.png")
    (full_disk / "a.ora").write_text("older")
    refused(here, "a.png", "-o", full_disk / "a.ora", "--backend", "trial", "--force")
    assert (full_disk / "a.ora").read_text() == "older"


def test_layers_are_saved_though_their_sheet_is_not(here: Here, full_disk: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (300, 300, 3), np.uint8)
    Image.fromarray(noise).save(here.folder / "a.png")
    ended = here("split", "a.png", "-o", "a.ora", "--backend", "trial", "--sheet", full_disk / "s.png")
    lines = ended.stderr.splitlines()
    assert ended.returncode == 1 and len(lines) == 2
    assert "The layers are saved in" in lines[0] and "The disk is full" in lines[0] and "Free some space" in lines[1]
    assert (here.folder / "a.ora").is_file() and list(full_disk.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="limits are POSIX's")
def test_a_limit_on_file_sizes_is_a_full_disk_too(unflatten: CommandLine) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (300, 300, 3), np.uint8)
    Image.fromarray(noise).save(unflatten.folder / "a.png")
    ended = subprocess.run(
        unflatten.words("split", "a.png", "-o", "a.ora", "--backend", "trial"),
        cwd=unflatten.folder,
        env=unflatten.environment(),
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )
    assert ended.returncode == 1 and ended.stderr.startswith("The disk is full")
    assert unflatten.names() == {"a.png"}
