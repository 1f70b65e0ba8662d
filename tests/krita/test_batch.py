"""kritarunner -s unflatten.batch -f run IN… --out DIR: headless, no dialog, one line a file, the number of failures."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from tests.krita.bridges import Bridge
from tests.krita.runner import Runner
from tests.krita.window import Krita

POSTER = Path(__file__).parents[2] / "bridge" / "sample" / "poster.png"
pytestmark = pytest.mark.krita


@pytest.fixture(scope="session")
def runner(programs: None, plugin: Path, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    return Runner(tmp_path_factory.mktemp("runner"), plugin)


def picture(path: Path, seed: int, size: tuple[int, int] = (240, 180)) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def layer_names(kra: Path) -> dict[str, list[str]]:
    """Names in a .kra's first level, each with its children's, top to bottom."""
    with zipfile.ZipFile(kra) as file:
        tree = ElementTree.fromstring(file.read("maindoc.xml"))
    space = {"k": "http://www.calligra.org/DTD/krita"}
    layers = tree.findall("k:IMAGE/k:layers/k:layer", space)
    return {each.attrib["name"]: [c.attrib["name"] for c in each.findall("k:layers/k:layer", space)] for each in layers}


def flat(kra: Path) -> np.ndarray:
    with zipfile.ZipFile(kra) as file, file.open("mergedimage.png") as merged:
        return np.asarray(Image.open(merged).convert("RGBA"))


def test_a_folder_with_bad_files_in_it(runner: Runner, scripted_bridge: Bridge, tmp_path: Path) -> None:
    scripted_bridge.script()
    runner.use(scripted_bridge)
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    good = [picture(source / "a.png", 1), picture(source / "b.jpg", 2), picture(source / "ü – c.png", 3)]
    picture(source / "a.bmp", 4)
    (source / "broken.png").write_bytes(good[0].read_bytes()[:500])
    (source / "empty.psd").write_bytes(b"")
    Image.fromarray(np.full((40, 40), 40_000, np.uint16)).save(source / "deep.png")
    picture(source / "tiny.png", 5, (3, 3))
    (source / "notes.txt").write_text("not a picture")

    run = runner.batch(source, tmp_path / "missing.png", "--out", out, "--seed", 1)
    lines = run.stdout.splitlines()
    print(run.stdout, run.stderr[-1500:] if run.returncode != 4 else "")
    assert run.returncode == 4, "broken, empty, missing, tiny"
    files = ["a.bmp", "a.png", "b.jpg", "broken.png", "deep.png", "empty.psd", "tiny.png", "ü – c.png", "missing.png"]
    assert [Path(line.split(": ")[0]).name for line in lines] == files
    failed = {Path(line.split(": ")[0]).name for line in lines if "FAILED" in line}
    assert failed == {"broken.png", "empty.psd", "tiny.png", "missing.png"}
    results = {file.name for file in out.iterdir() if not file.name.startswith(".")}
    assert results == {"a.bmp.kra", "a.png.kra", "b.kra", "deep.kra", "ü – c.kra"}
    assert not [file for file in out.iterdir() if "half" in file.name]
    for kra, original in (("a.png.kra", "a.png"), ("b.kra", "b.jpg")):
        names = layer_names(out / kra)
        stem = Path(original).stem
        assert next(iter(names)) == f"Unflattened {stem}"
        assert len(names[f"Unflattened {stem}"]) >= 2
    before = np.asarray(Image.open(source / "a.png").convert("RGBA")).astype(int)
    assert np.abs(before - flat(out / "a.png.kra")).max() <= 1

    # Again, after one file has changed: it alone is done, and what failed is tried again.
    stamps = {file.name: file.stat().st_mtime_ns for file in out.glob("*.kra")}
    picture(source / "b.jpg", 6)
    os.utime(source / "b.jpg", ns=(1, 1))
    again = runner.batch(source, "--out", out, "--seed", 1)
    assert again.returncode == 3
    changed = {file.name for file in out.glob("*.kra") if file.stat().st_mtime_ns != stamps[file.name]}
    assert changed == {"b.kra"}
    assert [Path(line.split(": ")[0]).name for line in again.stdout.splitlines() if "unchanged" in line] == [
        "a.bmp",
        "a.png",
        "deep.png",
        "ü – c.png",
    ]


def test_every_picture_has_its_own_result_whatever_its_name(
    runner: Runner, scripted_bridge: Bridge, tmp_path: Path
) -> None:
    scripted_bridge.script()
    runner.use(scripted_bridge)
    names = {"a/p.png": "a-p", "b/p.png": "b-p", "a/q.png": "q.png", "a/q.jpg": "q.jpg", "a/q.png.png": "q.png.png"}
    names |= {"a/R.png": "R", "a/r.png": "r (2)", f"a/{'N' * 251}.png": "N" * 251, "a/\xe9.png": "\xe9"}
    for number, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        picture(tmp_path / name, number, (100 + number, 90))
    unnamed = os.fsencode(tmp_path) + b"/a/caf\xe9.png"
    shutil.copy(tmp_path / "b" / "p.png", os.fsdecode(unnamed))
    run = runner.batch(tmp_path / "a", tmp_path / "b", "--out", tmp_path / "out")
    assert run.returncode == 1 and "not UTF-8" in run.stdout, run.stdout + run.stderr
    results = {file.stem: flat(file).shape[1] for file in (tmp_path / "out").glob("*.kra")}
    assert results == {result: 100 + number for number, result in enumerate(names.values())}
    again = runner.batch(tmp_path / "b", tmp_path / "a", "--out", tmp_path / "out")
    assert again.stdout.count("unchanged") == len(names)


def test_a_results_folder_that_cannot_be_made(runner: Runner, scripted_bridge: Bridge, tmp_path: Path) -> None:
    runner.use(scripted_bridge)
    picture(tmp_path / "a.png", 1)
    (tmp_path / "out").write_text("a file")
    run = runner.batch(tmp_path / "a.png", "--out", tmp_path / "out")
    assert run.returncode == 120 and "Nothing can be written to" in run.stderr and "Traceback" not in run.stderr


def test_results_beside_a_kra_never_overwrite_it(runner: Runner, scripted_bridge: Bridge, tmp_path: Path) -> None:
    scripted_bridge.script()
    runner.use(scripted_bridge)
    picture(tmp_path / "art.png", 7)
    first = runner.batch(tmp_path / "art.png", "--out", tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    original = (tmp_path / "art.kra").read_bytes()
    shutil.copy(tmp_path / "art.kra", tmp_path / "own.kra")
    second = runner.batch(str(tmp_path / "own*"), "--out", tmp_path)
    assert second.returncode == 0, second.stdout + second.stderr
    assert (tmp_path / "own.kra").read_bytes() == original
    assert next(iter(layer_names(tmp_path / "own.kra.kra"))) == "Unflattened own"


def test_krita_and_the_command_line_keep_one_list_and_no_edit_is_written_over(
    runner: Runner, scripted_bridge: Bridge, tmp_path: Path
) -> None:
    scripted_bridge.script()
    runner.use(scripted_bridge)
    source, out = Path(shutil.copy(POSTER, tmp_path / "art.png")), tmp_path / "out"
    command = [sys.executable, "-m", "bridge.cli", "batch", str(source), "-o", str(out), "--format", "ora"]
    assert runner.batch(source, "--out", out).returncode == 0
    subprocess.run(command, check=True, timeout=180, capture_output=True)
    again = runner.batch(source, "--out", out)
    assert again.returncode == 0 and "unchanged, art.kra is there" in again.stdout
    told = subprocess.run(command, check=True, timeout=180, capture_output=True, text=True)
    assert "0 split, 1 done before, 0 failed." in told.stderr

    edited = b"painted on"
    (out / "art.kra").write_bytes(edited)
    other = runner.batch(source, "--out", out, "--seed", 2)
    assert other.returncode == 1 and len(other.stdout.splitlines()) == 1
    assert "art.kra was edited since it was made." in other.stdout
    assert (out / "art.kra").read_bytes() == edited


def test_a_question_of_kritas_stops_one_file_and_is_told(
    runner: Runner, scripted_bridge: Bridge, krita: Krita, tmp_path: Path
) -> None:
    scripted_bridge.script()
    runner.use(scripted_bridge)
    linked = picture(tmp_path / "linked.png", 11)
    krita.create_document(name="asks", width=240, height=180)
    krita.add_file_layer(name="asks", path=str(linked))
    assert krita.save(name="asks", path=str(tmp_path / "asks.kra"))
    linked.unlink()
    good = picture(tmp_path / "good.png", 12)
    run = runner.batch(tmp_path / "asks.kra", good, "--out", tmp_path / "out", seconds=90)
    first, second = run.stdout.splitlines()
    assert run.returncode == 1
    assert "FAILED: Krita asks about it" in first and "linked.png" in first
    assert "in good.kra" in second


def test_wrong_arguments_end_with_a_sentence(runner: Runner) -> None:
    run = runner.batch("picture.png")
    assert run.returncode == 120
    assert "--out" in run.stderr


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--steps", 51), "“num_inference_steps” cannot be used"),
        (("--guidance-scale", 0.5), "“guidance_scale” cannot be used"),
        (("--backend", "nobody"), "no backend named “nobody”"),
        (("--option", "nothing=1"), "no option “nothing”"),
    ],
)
def test_what_the_bridge_cannot_use_is_said_once_before_any_work(
    runner: Runner, scripted_bridge: Bridge, tmp_path: Path, wrong: tuple[object, ...], said: str
) -> None:
    runner.use(scripted_bridge)
    source, out = picture(tmp_path / "art.png", 9), tmp_path / "out"
    run = runner.batch(source, source, "--out", out, *wrong)
    assert run.returncode == 120 and run.stdout == ""
    assert run.stderr.count(said) == 1
    assert not out.exists()


def test_every_setting_and_option_reaches_the_splitter_and_another_one_is_another_result(
    runner: Runner, scripted_bridge: Bridge, tmp_path: Path
) -> None:
    scripted_bridge.script()
    runner.use(scripted_bridge)
    source, out = picture(tmp_path / "art.png", 10), tmp_path / "out"
    given = (
        "--backend builtin --layers 4 --prompt boat --negative-prompt text --steps 12 --guidance-scale 3.5 --seed 7 "
        "--acceleration high --no-safety-checker --output-format webp --sync-mode --option pace=2"
    )
    run = runner.batch(source, "--out", out, *given.split())
    assert run.returncode == 0, run.stdout + run.stderr
    assert scripted_bridge.asked() == {
        "settings": {
            "prompt": "boat",
            "negative_prompt": "text",
            "num_layers": 4,
            "num_inference_steps": 12,
            "guidance_scale": 3.5,
            "seed": 7,
            "acceleration": "high",
            "enable_safety_checker": False,
            "output_format": "webp",
            "sync_mode": True,
        },
        "options": {"pace": 2},
    }
    again = runner.batch(source, "--out", out, *given.split())
    assert again.returncode == 0 and "unchanged" in again.stdout
    other = runner.batch(source, "--out", out, *given.replace("pace=2", "pace=3").split())
    assert other.returncode == 0 and "unchanged" not in other.stdout
    assert scripted_bridge.asked()["options"] == {"pace": 3}


def test_krita_and_the_command_line_give_the_same_layers(
    krita: Krita, runner: Runner, builtin_bridge: Bridge, tmp_path: Path
) -> None:
    runner.use(builtin_bridge)
    run = runner.batch(POSTER, "--out", tmp_path, "--seed", 7)
    assert run.returncode == 0, run.stdout + run.stderr
    split = [sys.executable, "-m", "bridge.cli", "split", str(POSTER), "-o", f"{tmp_path / 'cli'}/", "--seed", "7"]
    subprocess.run(split, check=True, timeout=180, capture_output=True)
    listed = json.loads((tmp_path / "cli" / "stack.json").read_text("utf-8"))["layers"]

    assert krita.open_document(name="poster", path=str(tmp_path / "poster.kra"))
    group = krita.layers(name="poster")[-1]
    assert [layer["name"] for layer in group["children"]] == [layer["name"] for layer in listed]
    for index, layer in enumerate(listed):
        file = tmp_path / "layer"
        krita.layer_pixels(name="poster", group=group["name"], index=index, path=str(file))
        expected = np.asarray(Image.open(tmp_path / "cli" / layer["file"]).convert("RGBA"))
        pixels = np.fromfile(file, np.uint8).reshape(expected.shape)[..., [2, 1, 0, 3]]
        assert (pixels[..., 3] == expected[..., 3]).all(), layer["name"]
        shown = expected[..., 3] > 0
        assert (pixels[shown] == expected[shown]).all(), layer["name"]
