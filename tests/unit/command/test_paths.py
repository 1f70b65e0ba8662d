"""Paths and pipes of every kind: a sentence each time, before the work where it can be, and the rest is done."""

import os
import shutil
import subprocess
import unicodedata
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.unit.command.running import LIKE_ANYONE, CommandLine, Here, shapes

pytestmark = pytest.mark.skipif(
    bool(LIKE_ANYONE) and not shutil.which(LIKE_ANYONE[0]), reason="root, and no setpriv to be anyone else"
)


@pytest.fixture
def anyone(tmp_path: Path) -> CommandLine:
    """The command line of somebody for whom permissions hold."""
    return CommandLine(tmp_path, trial=True, bounded=True)


@pytest.fixture
def line(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path, trial=True)


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    """A folder that may be entered by nobody, with a picture in it."""
    folder = tmp_path / "locked"
    folder.mkdir()
    shapes(folder / "p.png")
    folder.chmod(0)
    yield folder
    folder.chmod(0o755)


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder into which nobody may write."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    yield folder
    folder.chmod(0o755)


def told(ended: subprocess.CompletedProcess[str]) -> str:
    """What a command that failed said: one or two plain lines."""
    assert ended.returncode == 1, ended
    assert "Traceback" not in ended.stderr and len(ended.stderr.splitlines()) <= 2, ended.stderr
    return ended.stderr


def shell(line: CommandLine, command: str) -> subprocess.CompletedProcess[str]:
    """Run by a shell, in which $U is the command."""
    words = " ".join(line.words())
    return subprocess.run(
        ["bash", "-c", command], cwd=line.folder, env={**line.environment(), "U": words}, capture_output=True, text=True
    )


TRIAL = "--backend trial"


# Before the work


@pytest.mark.parametrize("target", ["locked/x.ora", "locked/x/", "closed/x.ora", "closed/x/", f"{'M' * 300}.ora"])
def test_a_place_that_cannot_be_written_is_found_before_the_work(
    anyone: CommandLine, locked: Path, closed: Path, target: str
) -> None:
    shapes(anyone.folder / "p.png")
    sentence = told(anyone("split", "p.png", "-o", target, "--backend", "trial", "--prompt", "note"))
    assert "Permission denied" in sentence or "File name too long" in sentence
    assert not (anyone.data / "trial.notes").exists(), "no splitter was asked"


def test_a_sheet_that_cannot_be_written_is_found_before_the_work(anyone: CommandLine, closed: Path) -> None:
    shapes(anyone.folder / "p.png")
    assert "Permission denied" in told(anyone("split", "p.png", "-o", "a.ora", "--sheet", "closed/s.png"))
    assert not (anyone.folder / "a.ora").exists()


@pytest.mark.parametrize("picture", ["locked/p.png", "unreadable.png", "M" * 300 + ".png", "nothing.png"])
def test_a_picture_that_cannot_be_read_is_a_sentence(anyone: CommandLine, locked: Path, picture: str) -> None:
    shapes(anyone.folder / "unreadable.png").chmod(0)
    assert told(anyone("split", picture, "-o", "a.ora"))


def test_a_results_folder_that_cannot_be_written_is_found_before_the_work(anyone: CommandLine, closed: Path) -> None:
    shapes(anyone.folder / "p.png")
    for folder in ("closed", "closed/deeper"):
        assert "Permission denied" in told(anyone("batch", "p.png", "-o", folder, "--backend", "trial"))
    assert not (anyone.data / "trial.notes").exists()


# Batch goes on


def test_what_cannot_be_read_costs_only_its_own_line(anyone: CommandLine, locked: Path) -> None:
    shapes(anyone.folder / "good.png")
    shapes(anyone.folder / "unreadable.png").chmod(0)
    named = ("locked", "locked/p.png", "unreadable.png", "nothing.png", "good.png")
    ended = anyone("batch", *named, "-o", "out", "--backend", "trial")
    assert ended.returncode == 1 and ended.stderr.splitlines()[-1] == "1 split, 0 done before, 4 failed."
    lines = ended.stderr.splitlines()
    assert all(any(line.startswith(f"{name}: failed.") for line in lines) for name in named[:-1])
    assert (anyone.folder / "out" / "good.ora").is_file()


def test_names_that_are_no_utf8_are_done_like_others(line: CommandLine) -> None:
    shapes(line.folder / "p.png")
    os.mkdir(os.fsencode(line.folder) + b"/d\xe9")
    for name in (b"caf\xe9.png", b"d\xe9/p.png"):
        shutil.copy(os.fsencode(line.folder / "p.png"), os.fsencode(line.folder) + b"/" + name)
    named = ("p.png", os.fsdecode(b"caf\xe9.png"), os.fsdecode(b"d\xe9"))
    for summary in ("3 split, 0 done before, 0 failed.", "0 split, 3 done before, 0 failed."):
        ended = line("batch", *named, "-o", "out", "--backend", "trial")
        assert ended.returncode == 0 and ended.stderr.splitlines()[-1] == summary
    assert os.path.exists(os.fsencode(line.folder) + b"/out/caf\xe9.ora")


def test_every_picture_has_its_own_result_whatever_its_name(line: CommandLine) -> None:
    folder = line.folder / "in"
    accent = ("\xe9.png", unicodedata.normalize("NFD", "\xe9.png"))
    long = ("N" * 251 + ".png", "N" * 251 + ".jpg")
    names = ("a/p.png", "b/p.png", "a/q.png", "a/q.jpg", "a/q.png.png", "a/R.png", "a/r.png")
    names = (*names, *(f"a/{name}" for name in (*accent, *long)))
    for size, name in enumerate(names, 100):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shapes(folder / name, (size, 90))
    for kind in ("ora", "psd", "png"):
        ended = line("batch", "in/a", "in/b", "-o", f"out-{kind}", "--format", kind, "--backend", "trial")
        assert ended.returncode == 0, ended.stderr
        again = line("batch", "in/b", "in/a", "-o", f"out-{kind}", "--format", kind, "--backend", "trial")
        assert again.stderr.splitlines()[-1] == f"0 split, {len(names)} done before, 0 failed."
    widths = set[int]()
    for result in (line.folder / "out-ora").glob("*.ora"):
        with zipfile.ZipFile(result) as archive, archive.open("mergedimage.png") as merged:
            widths.add(Image.open(merged).width)
    assert widths == set(range(100, 100 + len(names)))


def test_a_folder_is_known_by_its_contents_and_what_is_left_alone_is_counted(line: CommandLine) -> None:
    folder = line.folder / "in"
    folder.mkdir()
    for name in ("a.jfif", "b.jpe"):
        shapes(folder / "x.jpg").rename(folder / name)
    shapes(folder / "x.bmp").rename(folder / "c.dib")
    shapes(folder / "x.png").rename(folder / "without-an-ending")
    (folder / "notes.txt").write_text("no picture")
    (folder / "draft.svg").write_text("<svg/>")
    ended = line("batch", "in", "-o", "out", "--backend", "trial")
    assert ended.returncode == 0 and ended.stderr.splitlines()[-1] == "4 split, 0 done before, 0 failed."
    assert "Left alone: 2 files are no picture that can be opened (draft.svg, notes.txt)." in ended.stderr


def test_standard_error_that_takes_nothing_stops_no_batch(line: CommandLine) -> None:
    shapes(line.folder / "p.png")
    shapes(line.folder / "q.png", (100, 90))
    assert shell(line, f"$U batch p.png q.png -o out {TRIAL} 2>/dev/full").returncode == 0
    assert shell(line, f"$U batch p.png q.png -o out2 {TRIAL} 2>&-").returncode == 0
    assert len(list(line.folder.glob("out*/*.ora"))) == 4


# Pipes and links


@pytest.mark.parametrize(
    "command",
    [
        "cat p.png | $U split - -o a.ora",
        "$U split /dev/stdin -o a.ora < p.png",
        "cat p.png | $U split /dev/stdin -o a.ora",
        "$U split <(cat p.png) -o a.ora",
        "$U split p.png -o - > a.ora",
        "cat p.png | $U split - -o - | cat > a.ora",
    ],
)
def test_pipes(line: CommandLine, command: str) -> None:
    shapes(line.folder / "p.png")
    ended = shell(line, f"set -o pipefail; {command.replace('$U split', f'$U split {TRIAL}')}")
    assert ended.returncode == 0, ended.stderr
    with zipfile.ZipFile(line.folder / "a.ora") as archive:
        assert archive.testzip() is None and "stack.xml" in archive.namelist()
    assert line.names() == {"p.png", "a.ora"}


def test_pipes_that_give_or_take_nothing(line: CommandLine) -> None:
    shapes(line.folder / "p.png")
    assert "no bytes" in told(shell(line, "$U split - -o a.ora < /dev/null"))
    assert "JSON" in told(line("split", "p.png", "-o", "-", "--json"))
    assert "No space left" in told(shell(line, f"$U split p.png -o - {TRIAL} >/dev/full"))


@pytest.mark.parametrize(("where", "code"), [(">&-", 0), (">/dev/full", 1)])
def test_layers_are_saved_where_nothing_can_be_told(line: CommandLine, where: str, code: int) -> None:
    shapes(line.folder / "p.png")
    ended = shell(line, f"$U split p.png -o a.ora {TRIAL} {where}")
    assert ended.returncode == code and "Traceback" not in ended.stderr
    assert (line.folder / "a.ora").is_file()
    if code:
        assert "The work is done" in told(ended)


def test_a_link_is_followed(line: CommandLine) -> None:
    shapes(line.folder / "p.png")
    (line.folder / "there.ora").write_text("older")
    for link, target in (("link.ora", "there.ora"), ("dangling.ora", "new.ora")):
        (line.folder / link).symlink_to(target)
        assert line("split", "p.png", "-o", link, "--force", "--backend", "trial").returncode == 0
        assert (line.folder / link).is_symlink() and zipfile.is_zipfile(line.folder / target)
    (line.folder / "astray.ora").symlink_to("no-such-folder/x.ora")
    assert "There is no folder" in told(line("split", "p.png", "-o", "astray.ora"))


def test_one_layer_is_called_so(here: Here) -> None:
    from bridge.command.run import Outcome
    from bridge.jobs.job import Outline

    report = {"cost": 0, "seconds": 1.0, "notes": []}
    assert (
        Outcome((Outline("a", "object", (0, 0, 1, 1)),), report).lines("a.ora")[-1] == "1 layer saved in a.ora (1.0 s)."
    )
