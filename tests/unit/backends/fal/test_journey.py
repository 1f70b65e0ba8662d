"""The whole way of a picture that fal splits: through the engine, its lane and its worker, to exact layers."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

from PIL import Image

from bridge.backends import preferences
from bridge.jobs.job import Done, Failed, ImageFile, JobEvent, JobRequest, LayeredFile
from bridge.jobs.local import open_engine
from bridge.settings import Settings
from tests.unit.backends.fal.driving import picture
from tests.unit.backends.fal.service import Fal, Reply


async def split(folder: Path, **options: Any) -> Done | Failed:
    """How a picture's way ends that fal is asked to split."""
    source = folder / "picture.png"
    Image.fromarray(picture().pixels).save(source)
    wanted = JobRequest(
        id=uuid4().hex,
        client="test",
        source=ImageFile(str(source)),
        output=LayeredFile(str(folder / "picture.ora"), "ora"),
        backend="fal",
        settings=Settings(num_layers=3, seed=5),
        options=options,
    )
    ended: asyncio.Future[Done | Failed] = asyncio.get_running_loop().create_future()

    def listen(job_id: str, event: JobEvent) -> None:
        if isinstance(event, Done | Failed):
            ended.set_result(event)

    async with open_engine(folder / "data", remembers=True) as engine:
        engine.submit(wanted, listen)
        return await asyncio.wait_for(ended, 120)


async def test_the_whole_journey_is_exact_and_tells_what_it_cost(fal: Fal, tmp_path: Path) -> None:
    end = await split(tmp_path)
    assert isinstance(end, Done), end
    told = end.report
    assert (told["max_error"], told["exact_share"], told["cost"], told["seed"]) == (0, 1.0, 0.05, 5)
    assert (tmp_path / "picture.ora").stat().st_size > 0


async def test_a_job_may_name_its_own_wall_clock_over_the_users(fal: Fal, tmp_path: Path) -> None:
    preferences.change("fal-wall-clock", "900")
    assert isinstance(await split(tmp_path, wall_clock=77), Done)
    [headers] = [headers for call, headers in fal.calls if call == "submit"]
    assert headers["x-fal-request-timeout"] == "77"


async def test_a_refusal_reaches_the_one_who_asked(fal: Fal, tmp_path: Path) -> None:
    fal.script["submit"] = [Reply(401, {"detail": "no"})]
    end = await split(tmp_path)
    assert isinstance(end, Failed) and (end.error.code, end.error.kind) == ("fal_key", "service")
    assert "unflatten key set fal" in end.error.hint
