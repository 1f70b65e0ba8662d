"""Models of the user's own, adapters to them, what is listed, and what removing frees and leaves."""

import json
import shutil
from pathlib import Path

import pytest

from bridge.backends.diffusers import adding, catalogue, download, environment, library
from bridge.backends.diffusers.headers import BadModel
from bridge.backends.diffusers.library import Place, Record
from bridge.backends.diffusers.shelf import Shelf
from bridge.backends.shelf import ModelShelf
from bridge.errors import BackendUnavailable, BadSettings, UnflattenError
from tests.unit.backends.diffusers import weights


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where models are kept. Nothing is asked of a hub here."""
    folder = tmp_path / "kept" / "models"
    monkeypatch.setenv("UNFLATTEN_MODELS", str(folder))
    monkeypatch.setattr(environment, "python", lambda: tmp_path / "python")
    monkeypatch.setattr(library, "python", lambda: tmp_path / "python")
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return weights.whole(tmp_path / "My Model")


def add(what: Path | str, to: str = "") -> str:
    plan = Shelf().plan(str(what), to)
    assert plan.fetch == 0
    plan.carry_out(lambda step: None)
    return plan.name


def keep(models: Path, *parts: str) -> None:
    """Parts as a download leaves them."""
    for part in parts:
        folder = models / library.PARTS / part
        if part == "base":
            (folder / "transformer").mkdir(parents=True)
            (folder / "transformer" / "config.json").write_text(json.dumps(weights.CONFIG))
            files = ["transformer/config.json"]
        else:
            inner = "" if part in ("transformer-fp8", "transformer-q4_k_m") else part.replace("-", "_") + "/"
            weights.safetensors(folder / f"{inner}a.safetensors", weights.transformer())
            files = [f"{inner}a.safetensors"]
            if part == "transformer":
                (folder / inner / "config.json").write_text(json.dumps(weights.CONFIG))
                files.append(f"{inner}config.json")
        told = {name: {"size": (folder / name).stat().st_size, "sha256": ""} for name in files}
        (folder / library.PART).write_text(json.dumps({"files": told}))


def test_a_folder_stays_where_it_is(own: Path, models: Path) -> None:
    assert add(own) == "my-model"
    files = library.find("my-model")
    assert (files.base, files.transformer, files.form) == (own, own / "transformer", "bf16")
    assert files.transformer_bytes == (own / "transformer" / "diffusion_pytorch_model.safetensors").stat().st_size
    assert library.find("") == files
    assert not (models / library.PARTS).exists() or not list((models / library.PARTS).iterdir())
    removed = Shelf().remove("my-model")
    assert removed.freed == 0 and str(own / "transformer") in removed.left
    assert (own / "transformer" / "config.json").is_file() and library.installed() == []


def test_the_same_folder_again_is_the_same_model_and_another_is_not(own: Path, tmp_path: Path) -> None:
    assert [add(own), add(own)] == ["my-model", "my-model"]
    other = shutil.copytree(own, tmp_path / "elsewhere" / "My Model")
    assert add(other) == "my-model-2"
    assert len(library.installed()) == 2


def test_a_single_file_takes_the_rest_from_what_is_here(own: Path, tmp_path: Path) -> None:
    add(own)
    add(weights.gguf(tmp_path / "Tiny Q8.gguf", weights.transformer("F16")))
    files = library.find("tiny-q8")
    assert (files.form, files.base, files.text_encoder) == ("gguf", own, own / "text_encoder")
    assert [each.name for each in library.installed()] == ["my-model", "tiny-q8"]  # the most faithful first


def test_a_single_file_where_nothing_is_here_needs_parts_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(download, "listed", lambda parts: asked.append(list(parts)) or [])
    monkeypatch.setattr(adding.checks, "shape_in", lambda base: adding.checks.Shape.of(weights.CONFIG))
    Shelf().plan(str(weights.safetensors(tmp_path / "a.safetensors", weights.transformer())))
    assert asked == [["base", "text-encoder"]]


def test_an_adapter_needs_a_model(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="no model yet"):
        add(weights.safetensors(tmp_path / "clean.safetensors", weights.lora(inner=3072)))


def test_an_adapter_is_added_to_the_best_model_or_to_the_one_named(own: Path, tmp_path: Path) -> None:
    adapter = weights.safetensors(tmp_path / "clean.safetensors", weights.lora())
    add(own)
    add(weights.gguf(tmp_path / "small.gguf", weights.transformer("F16")))
    assert add(adapter) == "clean"
    files = library.find("clean")
    assert (files.lora, files.transformer) == (adapter, own / "transformer")
    assert add(adapter, to="small") == "clean"
    assert library.find("clean").form == "gguf"
    with pytest.raises(BadSettings, match="no model “none”"):
        add(adapter, to="none")
    with pytest.raises(BadSettings, match="no adapter"):
        add(own, to="small")


def test_bad_files_are_refused_and_nothing_is_kept(own: Path, tmp_path: Path, models: Path) -> None:
    whole = weights.safetensors(tmp_path / "a.safetensors", weights.transformer())
    whole.write_bytes(whole.read_bytes()[:-1])
    (own / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    for bad in (whole, own):
        with pytest.raises(BadModel):
            add(bad)
    with pytest.raises(BadSettings, match="no model named “nothing”"):
        add("nothing")
    assert not models.exists()


def test_known_models_share_parts_and_removing_one_leaves_the_others_whole(models: Path) -> None:
    keep(models, "base", "transformer", "text-encoder", "transformer-fp8", "stable-layers")
    adding._record(
        models,
        Record(
            "qwen-image-layered-fp8",
            "fp8",
            Place("", "base"),
            Place("a.safetensors", "transformer-fp8"),
            Place("text_encoder", "text-encoder"),
        ),
    )
    add("qwen-image-layered")
    assert [files.name for files in library.installed()] == ["qwen-image-layered", "qwen-image-layered-fp8"]
    assert Shelf().remove("qwen-image-layered").freed > 0
    assert sorted(path.name for path in (models / library.PARTS).iterdir()) == [
        "base",
        "stable-layers",
        "text-encoder",
        "transformer-fp8",
    ]
    assert [files.name for files in library.installed()] == ["qwen-image-layered-fp8"]


def test_what_lost_a_file_is_not_whole(models: Path) -> None:
    keep(models, "base", "transformer", "text-encoder")
    add("qwen-image-layered")
    lost = models / library.PARTS / "transformer" / "transformer" / "a.safetensors"
    lost.write_bytes(lost.read_bytes()[:-1])
    assert library.installed() == []
    with pytest.raises(BackendUnavailable, match="not whole") as told:
        library.find("qwen-image-layered")
    assert told.value.hint == "Run “unflatten models add qwen-image-layered”."
    [_, finding] = Shelf().findings()
    assert not finding.well and "files of it are missing" in finding.told


@pytest.mark.parametrize("text", ["", "{", "[]", '{"form": "bf16"}', '{"form": "none", "base": {"path": "/"}}', "8"])
def test_a_damaged_record_is_no_model(models: Path, text: str) -> None:
    (models / "broken").mkdir(parents=True)
    (models / "broken" / library.MODEL).write_text(text)
    assert library.installed() == [] and library.records() == []


def test_without_a_model_or_the_environment_it_is_said_what_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendUnavailable, match="no model on this computer") as told:
        library.find("")
    assert "unflatten models" in told.value.hint
    monkeypatch.setattr(library, "python", lambda: None)
    with pytest.raises(BackendUnavailable) as told:
        library.find("")
    assert "install.py --gpu" in told.value.hint


def test_the_list_has_all_that_is_known_and_the_users_own(own: Path) -> None:
    assert isinstance(Shelf(), ModelShelf)
    add(own)
    offers = {offer.name: offer for offer in Shelf().offers()}
    assert set(offers) == {*(known.name for known in catalogue.KNOWN), "my-model"}
    assert offers["my-model"].here and offers["my-model"].own
    assert not offers["qwen-image-layered"].here and offers["qwen-image-layered"].gigabytes == 57.8
    assert "not verified" in offers["stable-layers"].licence
    assert {offer.licence for offer in offers.values() if offer.name.startswith("qwen")} == {"Apache-2.0"}


def test_an_unfinished_download_is_told_and_can_be_removed(models: Path) -> None:
    (models / library.PARTS / "transformer.part").mkdir(parents=True)
    (models / library.PARTS / "transformer.part" / "a.0123.incomplete").write_bytes(bytes(1000))
    assert [finding.off for finding in Shelf().findings()] == [False, True]
    assert Shelf().remove("qwen-image-layered").freed == 1000
    with pytest.raises(BadSettings, match="no model"):
        Shelf().remove("qwen-image-layered")


def test_two_at_once_do_not_meet(own: Path, models: Path) -> None:
    with adding.locked(models), pytest.raises(UnflattenError, match="at work"):
        add(own)
    assert add(own) == "my-model"


def test_every_known_model_is_made_of_parts_that_have_a_source() -> None:
    for known in catalogue.KNOWN:
        assert set(known.parts) <= set(catalogue.SOURCES)
        assert known.form in library.FORMS
