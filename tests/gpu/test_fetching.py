"""Models fetched from a hub on this computer: whole, in pieces, spoiled, without room, without leave, offline."""

import os
import random
import resource
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gguf
import pytest
from diffusers import QwenImageTransformer2DModel
from safetensors.torch import load_file

from bridge.backends.diffusers import adding, download, environment, library
from bridge.backends.diffusers.catalogue import GGUF_REPOSITORY, QWEN, SOURCES
from bridge.backends.diffusers.shelf import Shelf
from bridge.backends.shelf import Fetching
from bridge.errors import OutOfSpace, UnflattenError
from tests.gpu import tiny
from tests.hub import COMMIT, Hub, serving

BASE = "qwen-image-layered"
SMALL = "qwen-image-layered-q4-k-m"
WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("hub")
    whole = tiny.save(folder / "base")
    (whole / "README.md").write_text("Not needed.")
    (folder / "gguf").mkdir()
    write_gguf(load_file(whole / WEIGHTS), folder / "gguf" / "qwen-image-layered-Q4_K_M.gguf")
    (folder / "adapter" / "model").mkdir(parents=True)
    return {QWEN: whole, GGUF_REPOSITORY: folder / "gguf", SOURCES["stable-layers"].repository: folder / "adapter"}


def write_gguf(tensors: dict, path: Path) -> None:
    writer = gguf.GGUFWriter(path, "qwen_image")
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def hub(repositories: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(environment, "python", lambda: Path(sys.executable))
    monkeypatch.setattr(download, "WAITS", ())
    monkeypatch.setenv("UNFLATTEN_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HF_HUB_CACHE", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    with serving(dict(repositories)) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        yield running


def add(name: str, tell: Callable[[Fetching], None] = lambda step: None) -> None:
    Shelf().plan(name).carry_out(tell)


def nothing_is_taken_for_whole() -> bool:
    return library.installed() == []


def test_a_model_is_fetched_whole_and_loads(hub: Hub, repositories: dict[str, Path]) -> None:
    steps: list[Fetching] = []
    plan = Shelf().plan(BASE)
    wanted = [file for file in repositories[QWEN].rglob("*.*") if file.name != "README.md"]
    twice = [repositories[QWEN] / part / "config.json" for part in ("transformer", "text_encoder")]
    assert plan.fetch == sum(file.stat().st_size for file in [*wanted, *twice])
    plan.carry_out(steps.append)
    files = library.find(BASE)
    assert files.form == "bf16" and files.transformer_bytes > 0 and files.text_encoder_bytes > 0
    assert (files.transformer / "diffusion_pytorch_model.safetensors").read_bytes() == (
        repositories[QWEN] / WEIGHTS
    ).read_bytes()
    for needed in ("model_index.json", "scheduler", "vae", "tokenizer", "processor/preprocessor_config.json"):
        assert (files.base / needed).exists(), needed
    assert QwenImageTransformer2DModel.from_pretrained(files.transformer, local_files_only=True).config.num_layers == 1
    assert not [file for file in hub.fetched() if "README" in file]


def test_models_share_what_they_have_in_common(hub: Hub) -> None:
    add(SMALL)
    assert not [file for file in hub.fetched() if WEIGHTS in file]  # a GGUF needs no other transformer
    assert library.find(SMALL).form == "gguf" and library.find(SMALL).transformer.suffix == ".gguf"
    hub.asked.clear()
    add(BASE)
    assert {file.rpartition(f"{QWEN}/")[2] for file in hub.fetched()} == {WEIGHTS, "transformer/config.json"}

    shelf = Shelf()
    shelf.remove(BASE)
    assert [files.name for files in library.installed()] == [SMALL]
    assert shelf.remove(SMALL).freed > 0
    assert nothing_is_taken_for_whole()
    assert not [path for path in library.folder().rglob("*") if path.is_file() and path.name != ".lock"]


def test_a_download_that_is_cut_off_at_20_places_goes_on_there(hub: Hub, repositories: dict[str, Path]) -> None:
    whole = (repositories[QWEN] / WEIGHTS).read_bytes()
    cuts = sorted(random.Random(11).sample(range(1, len(whole)), 20))
    hub.cuts[WEIGHTS] = list(cuts)
    add(BASE)
    assert [each.first for each in hub.asked if each.file == WEIGHTS and each.method == "GET"] == [0, *cuts]
    assert (library.find(BASE).base.parent / "transformer" / WEIGHTS).read_bytes() == whole


@pytest.mark.parametrize("cut", [0, 1, 100_000, -1], ids=["nothing came", "one byte came", "half came", "all but one"])
def test_a_run_that_ends_with_the_hub_is_taken_up_by_the_next(
    hub: Hub, repositories: dict[str, Path], cut: int
) -> None:
    whole = (repositories[QWEN] / WEIGHTS).read_bytes()
    cut %= len(whole)
    hub.cuts[WEIGHTS], hub.falls = [cut], True
    with pytest.raises(UnflattenError, match="broke off"):
        add(BASE)
    assert nothing_is_taken_for_whole()
    hub.mend()
    add(BASE)
    assert [each.first for each in hub.asked if each.file == WEIGHTS and each.method == "GET"] == [cut]
    assert (library.find(BASE).base.parent / "transformer" / WEIGHTS).read_bytes() == whole


def test_a_download_whose_process_is_killed_goes_on(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    popen = download.subprocess.Popen

    def noted(*words, **options):
        process = popen(*words, **options)
        started.append(process.pid)
        return process

    plan = Shelf().plan(BASE)
    monkeypatch.setattr(download.subprocess, "Popen", noted)

    def kill() -> None:
        while not list(library.folder().rglob("*.incomplete")):
            time.sleep(0.001)
        os.kill(started[0], signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    with pytest.raises(UnflattenError):
        plan.carry_out(lambda step: None)
    killer.join()
    assert nothing_is_taken_for_whole()
    add(BASE)
    assert library.find(BASE)


def test_a_file_that_is_not_the_hubs_own_is_not_kept(hub: Hub) -> None:
    hub.spoiled.add(WEIGHTS)
    with pytest.raises(UnflattenError, match="its hash differs"):
        add(BASE)
    assert nothing_is_taken_for_whole()
    assert not list(library.folder().rglob("diffusion_pytorch_model.safetensors*incomplete"))
    hub.spoiled.clear()
    add(BASE)
    assert library.find(BASE)


def test_damage_to_what_an_earlier_run_left_is_noticed(hub: Hub) -> None:
    hub.cuts[WEIGHTS], hub.falls = [1000], True
    with pytest.raises(UnflattenError):
        add(BASE)
    hub.mend()
    [half] = library.folder().rglob("diffusion_pytorch_model.safetensors.*.incomplete")
    half.write_bytes(bytes(900))
    add(BASE)
    assert [each.first for each in hub.asked if each.file == WEIGHTS and each.method == "GET"] == [900, 0]
    assert library.find(BASE)


def test_a_model_that_lost_a_file_gets_it_back(hub: Hub) -> None:
    add(BASE)
    lost = library.find(BASE).text_encoder / "model.safetensors"
    lost.unlink()
    with pytest.raises(UnflattenError, match="not whole"):
        library.find(BASE)
    hub.asked.clear()
    add(BASE)
    assert {Path(file).name for file in hub.fetched()} == {"model.safetensors"}
    assert library.find(BASE)


def test_a_disk_that_fills_up(hub: Hub) -> None:
    plan = Shelf().plan(BASE)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(UnflattenError, match="disk is full") as told:
            plan.carry_out(lambda step: None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert told.value.code == "disk_full" and nothing_is_taken_for_whole()
    add(BASE)
    assert library.find(BASE)


def test_a_disk_that_is_too_small_is_said_before_anything_is_fetched(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(OutOfSpace, match="does not fit"):
        Shelf().plan(BASE)
    assert not hub.fetched()


def test_a_folder_that_may_not_be_written_to(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(adding, "_free", lambda folder: 2**40)
    for place in ("/sys/models", str(tmp_path / "file" / "models")):
        monkeypatch.setenv("UNFLATTEN_MODELS", place)
        with pytest.raises(UnflattenError) as told:
            add(BASE)
        assert told.value.code == "cannot_save" and nothing_is_taken_for_whole()


def test_offline_says_so_and_what_is_here_needs_no_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UnflattenError, match="HF_HUB_OFFLINE"):
        add(BASE)
    assert nothing_is_taken_for_whole() and not hub.asked
    monkeypatch.delenv("HF_HUB_OFFLINE")
    add(BASE)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    plan = Shelf().plan(BASE)
    assert plan.fetch == 0
    plan.carry_out(lambda step: None)


@pytest.mark.parametrize(("status", "told"), [(404, "no such model"), (403, "agreed to its terms"), (500, "500")])
def test_a_hub_that_refuses(hub: Hub, status: int, told: str) -> None:
    hub.refused = status
    with pytest.raises(UnflattenError, match=told):
        add(BASE)
    assert nothing_is_taken_for_whole()


def test_what_huggingfaces_own_cache_has_is_not_fetched_again(hub: Hub, repositories: dict[str, Path]) -> None:
    cached = Path(os.environ["HF_HOME"], "hub", f"models--{QWEN.replace('/', '--')}", "snapshots", COMMIT, WEIGHTS)
    cached.parent.mkdir(parents=True)
    shutil.copyfile(repositories[QWEN] / WEIGHTS, cached)
    text = cached.parents[1] / "text_encoder" / "model.safetensors"
    text.parent.mkdir()
    text.write_bytes(bytes((repositories[QWEN] / "text_encoder" / "model.safetensors").stat().st_size))  # damaged
    add(BASE)
    assert f"{QWEN}/{WEIGHTS}" not in hub.fetched() and f"{QWEN}/text_encoder/model.safetensors" in hub.fetched()
    assert cached.samefile(library.find(BASE).transformer / Path(WEIGHTS).name)  # which takes no room
    assert not any(text.read_bytes())  # the cache's own file is not written to
    assert (library.find(BASE).text_encoder / "model.safetensors").read_bytes() == (
        repositories[QWEN] / "text_encoder" / "model.safetensors"
    ).read_bytes()


def test_the_token_is_told_to_the_hub_alone(
    hub: Hub, repositories: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with serving(repositories) as storage:
        hub.elsewhere = storage.address
        add(BASE)
    assert {each.token for each in hub.asked} == {"Bearer hf_secret"}
    assert storage.fetched() and {each.token for each in storage.asked} == {""}
    assert library.find(BASE)
