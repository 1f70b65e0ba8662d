"""A job as a row of the store's table, and back."""

import json
from collections.abc import Mapping
from typing import Any, cast

from bridge.jobs.columns import Column, moment, truth
from bridge.jobs.job import Job, JobRequest, State
from bridge.jobs.plain import (
    check_images,
    check_outlines,
    check_output,
    check_source,
    error_from_plain,
    images_from_plain,
    outlines_from_plain,
    output_from_plain,
    output_to_plain,
    source_from_plain,
    source_to_plain,
)
from bridge.settings import Settings

_SIDE = 2**31
"""More than any picture's."""

COLUMNS = [
    Column("id", hexadecimal=32),
    Column("owner"),
    Column("client"),
    Column("state", words=tuple(each.value for each in State)),
    moment("created", null=False),
    moment("started"),
    moment("ended"),
    truth("batch"),
    truth("unattended"),
    truth("rerun"),
    moment("expires"),
    Column("backend"),
    Column("options"),
    Column("settings"),
    Column("source"),
    Column("output"),
    Column("same_as"),
    Column("width", "INTEGER", high=_SIDE),
    Column("height", "INTEGER", high=_SIDE),
    Column("attempts", "INTEGER", high=1000),
    Column("handle", null=True),
    Column("layers", null=True),
    Column("images", null=True),
    Column("report", null=True),
    Column("error", null=True),
    truth("delivered"),
    Column("nbytes", "INTEGER", high=2**50),
]
"""All columns of the table of jobs, in their order."""


def to_row(job: Job) -> dict[str, object]:
    """All but nbytes, which is written when the job's files are."""
    request = job.request
    return {
        "id": job.id,
        "owner": job.owner,
        "client": request.client,
        "state": job.state.value,
        "created": job.created,
        "started": job.started,
        "ended": job.ended,
        "batch": int(request.batch),
        "unattended": int(request.unattended),
        "rerun": int(request.rerun),
        "expires": request.expires,
        "backend": request.backend,
        "options": json.dumps(request.options),
        "settings": request.settings.model_dump_json(),
        "source": json.dumps(source_to_plain(request.source)),
        "output": json.dumps(output_to_plain(request.output)),
        "same_as": request.same_as,
        "width": job.width,
        "height": job.height,
        "attempts": job.attempts,
        "handle": job.handle,
        "layers": job.layers and json.dumps([[each.name, each.kind, each.rect] for each in job.layers]),
        "images": job.images and json.dumps([[each.nbytes, each.unsafe] for each in job.images]),
        "report": job.report and json.dumps(job.report),
        "error": job.error and json.dumps(job.error.as_dict()),
        "delivered": int(job.delivered),
    }


def from_row(row: Mapping[str, Any]) -> Job:
    """Raises one exception or another where the row tells what no job ever had."""
    source, output = source_from_plain(json.loads(row["source"])), output_from_plain(json.loads(row["output"]))
    check_source(source)
    check_output(output)
    request = JobRequest(
        id=row["id"],
        client=row["client"],
        source=source,
        output=output,
        backend=row["backend"],
        settings=Settings.model_validate_json(row["settings"]),
        options=_object(row["options"]),
        batch=bool(row["batch"]),
        unattended=bool(row["unattended"]),
        rerun=bool(row["rerun"]),
        expires=row["expires"],
        same_as=row["same_as"],
    )
    layers = None if row["layers"] is None else outlines_from_plain(json.loads(row["layers"]))
    images = None if row["images"] is None else images_from_plain(json.loads(row["images"]))
    check_outlines(layers or ())
    check_images(images or ())
    return Job(
        request,
        owner=row["owner"],
        state=State(row["state"]),
        created=row["created"],
        started=row["started"],
        ended=row["ended"],
        width=row["width"],
        height=row["height"],
        attempts=row["attempts"],
        handle=row["handle"],
        layers=layers,
        images=images,
        report=None if row["report"] is None else _object(row["report"]),
        error=None if row["error"] is None else error_from_plain(json.loads(row["error"])),
        delivered=bool(row["delivered"]),
    )


def _object(text: str) -> dict[str, Any]:
    told = json.loads(text)
    if not isinstance(told, dict):
        raise ValueError("no object")
    return cast(dict[str, Any], told)
