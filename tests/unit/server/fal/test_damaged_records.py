"""What fal's API keeps of requests, damaged: the rest lives, and nothing of it comes out as an error of ours."""

import json
from contextlib import closing
from pathlib import Path

import pytest

from bridge.clock import now
from bridge.jobs.job import Job, JobRequest, RawLayers, RawPicture
from bridge.jobs.store import Store
from bridge.server.fal.records import Records, RequestRecord
from tests.unit.trial.damage import DAMAGES, columns, damage
from tests.unit.trial.fal_api import KEY, QUEUE, Api, ask, open_api
from tests.unit.trial.running import Starter, wait_for

SOUND, HURT = "f" * 32, "e" * 32
TABLES = {
    "fal_request": [
        *("id", "sent", "keep_io", "keep_for", "sync", "seed", "start_by", "url", "input", "wrong"),
        *("started", "over", "status", "log", "images"),
    ],
    "fal_image": ["name_hash", "request", "number"],
}


def written(path: Path) -> None:
    store = Store(path)
    with closing(store):
        records = Records(path)
        for each in (SOUND, HURT):
            store.add(Job(JobRequest(each, "c", RawPicture(40, 30), RawLayers(), "trial")))
            record = RequestRecord(each, now() - 9, keep_for=9.0, seed=7, start_by=now(), input={"prompt": "ö"})
            record.wrong, record.log = [{"type": "a", "msg": "b", "loc": []}], []
            record.over, record.status, record.images = now(), 422, [each + "x" * 11]
            records.save(record)
        records.close()


@pytest.mark.parametrize(("table", "column"), [(table, each) for table, names in TABLES.items() for each in names])
def test_one_damaged_column_of_one_row_costs_at_most_that_row(tmp_path: Path, table: str, column: str) -> None:
    for number, (kind, value) in enumerate(DAMAGES.items()):
        path = tmp_path / f"journal-{number}.sqlite"
        written(path)
        assert columns(path, table) == TABLES[table]
        hurt = "id" if table == "fal_request" else "request"
        damage(path, table, column, value, f"{hurt} = '{HURT}'")
        records = Records(path)
        with closing(records):
            assert records.get(SOUND) is not None and records.image(SOUND + "x" * 11) == (SOUND, 0), kind
            listed = records.ended(0, 1e11, request_id=None, kind=None, by_duration=True, offset=0, limit=9)
            assert SOUND in [each.id for each in listed]
            for each in [*listed, *records.pending()]:
                json.dumps([each.input, each.wrong, each.log], allow_nan=False)
                records.save(each)
            records.image(HURT + "x" * 11)
            records.drop_forgotten()
            assert records.get(SOUND) is not None


def test_a_table_with_other_columns_is_put_aside(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "journal.sqlite"
    Store(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE fal_request (id TEXT, mood TEXT)")
        db.execute("INSERT INTO fal_request VALUES ('a', 'fine')")
        db.commit()
    records = Records(path)
    records.save(RequestRecord(SOUND, now()))
    assert records.get(SOUND) is not None


@pytest.mark.parametrize(
    ("table", "column", "kind"),
    [
        ("jobs", "source", "an object"),
        ("jobs", "output", "a word"),
        ("jobs", "report", "a list"),
        ("jobs", "images", "nothing"),
        ("jobs", "created", "bytes"),
        ("fal_request", "log", "a word"),
        ("fal_request", "images", "deep"),
        ("fal_request", "sent", "infinity"),
        ("fal_request", "over", "nothing"),
        ("fal_image", "number", "a word"),
    ],
)
def test_a_bridge_with_a_damaged_row_starts_and_answers(start: Starter, table: str, column: str, kind: str) -> None:
    first = open_api(start)
    hurt, sound = (first.run(num_layers=2, seed=seed) for seed in (1, 2))
    hurt_id, sound_id = (each.headers["x-fal-request-id"] for each in (hurt, sound))
    first.bridge.stop()
    name = "request" if table == "fal_image" else "id"
    where = f"{name} = '{hurt_id.replace('-', '')}'"
    damage(first.bridge.data / "journal.sqlite", table, column, DAMAGES[kind], where)
    bridge = start(fal={"backend": "trial"}, environment={"UNFLATTEN_FAL_API_KEY": KEY})
    told = wait_for(lambda: (answer := ask(bridge)).get("open") and answer)
    api = Api(bridge, told)
    answers = [
        *(api.http.get(f"{QUEUE}/requests/{hurt_id}{end}") for end in ("", "/status", "/response")),
        api.http.get(hurt.json()["images"][0]["url"].replace(first.url, api.url)),
    ]
    assert all(each.status_code < 500 or "no longer" in each.text for each in answers), [each.text for each in answers]
    assert api.result(sound_id).json()["seed"] == 2
    assert sound_id in [each["request_id"] for each in api.listed(expand="payloads")]
    assert api.run(num_layers=2).status_code == 200
    assert "Traceback" not in bridge.log
