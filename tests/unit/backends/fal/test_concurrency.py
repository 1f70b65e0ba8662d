"""Jobs that one model serves beside each other share nothing but connections."""

import asyncio

import numpy as np

from bridge.backends import preferences
from bridge.backends.choice import choose
from tests.unit.backends.fal.driving import Drafted, composite, drive, picture
from tests.unit.backends.fal.service import Fal, Reply


def test_many_jobs_of_one_model_each_get_their_own(fal: Fal) -> None:
    fal.seconds = 0.3
    seeds = range(1, 13)

    async def go() -> list[Drafted]:
        chosen = choose("fal")
        assert chosen.remote is not None
        model = chosen.remote.connect(chosen.options)
        jobs = [drive(picture(seed=seed), seed=seed, model=model) for seed in seeds]
        drafted = await asyncio.gather(*jobs)
        await model.close()
        return drafted

    all_drafted = asyncio.run(go())
    for seed, drafted in zip(seeds, all_drafted, strict=True):
        assert drafted.error is None and drafted.job.seed == seed
        assert np.array_equal(composite(drafted.layers), picture(seed=seed).view[..., :3])
        [intent, request, done] = drafted.handles
        assert intent["seed"] == seed and fal.orders[request["request_id"]].input["seed"] == seed
        assert done == {**request, "done": True}
    assert len(fal.orders) == len(seeds)


def test_of_two_equal_jobs_beside_each_other_none_takes_the_others_request_for_its_own(fal: Fal, hurried: None) -> None:
    """The second's answer is lost, and fal never saw it: the first's request is in fal's list, with the same seed."""
    preferences.change("fal-wall-clock", "6")
    fal.lists_early, fal.seconds = True, 0.5

    async def go() -> list[Drafted]:
        chosen = choose("fal")
        assert chosen.remote is not None
        model = chosen.remote.connect(chosen.options)
        first = asyncio.ensure_future(drive(model=model))
        while not fal.orders:
            await asyncio.sleep(0.01)
        fal.script["submit"] = [Reply(502, b"<html>")]
        drafted = [*await asyncio.gather(first, drive(model=model))]
        await model.close()
        return drafted

    first, second = asyncio.run(go())
    assert len(first.layers) == 3 and second.failure.code == "unknown_fate" and len(fal.orders) == 1
