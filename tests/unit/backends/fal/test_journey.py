"""The whole way of a picture that fal splits: through the engine, to exact layers and a report."""

from bridge.settings import Settings
from tests.unit.backends.fal.driving import picture
from tests.unit.backends.fal.service import Fal


def test_the_whole_journey_is_exact_and_tells_what_it_cost(fal: Fal) -> None:
    from bridge.jobs.local import run_local

    shown = picture()
    *_, report = run_local(shown, Settings(num_layers=3, seed=5), "fal")
    told = report.as_dict()  # type: ignore[union-attr]
    assert (told["max_error"], told["exact_share"], told["cost"], told["seed"]) == (0, 1.0, 0.05, 5)
