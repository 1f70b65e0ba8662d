"""schemathesis' own hooks: some of what it makes up gets what leads further than to a refusal.

A picture in place of an address, an endpoint that there is, and ids that TRIAL_REQUESTS names.
"""

import os
from typing import Any

import schemathesis

from tests.unit.trial.fal_api import ENDPOINT, data_uri, png

PICTURE = data_uri(png())
REQUESTS = os.environ["TRIAL_REQUESTS"].split(",")


def _further(made_up: object) -> int:
    """0 for half of what is made up; always the same for the same."""
    return len(str(made_up)) % 2


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    if not isinstance(body, dict) or "image_url" not in body:
        return body
    if body.get("enable_safety_checker", True) is True:  # costs the most by far, and is the same each time
        body = {**body, "enable_safety_checker": False}
    return {**body, "image_url": PICTURE} if len(str(body)) % 4 else body


@schemathesis.hook
def map_query(context: Any, query: Any) -> Any:
    if query and "endpoint_id" in query and not _further(query):
        listed = isinstance(query["endpoint_id"], list)
        return {**query, "endpoint_id": [ENDPOINT] if listed else ENDPOINT}
    return query


@schemathesis.hook
def map_path_parameters(context: Any, parameters: Any) -> Any:
    if parameters and "request_id" in parameters and not _further(parameters):
        return {**parameters, "request_id": REQUESTS[len(str(parameters)) // 2 % len(REQUESTS)]}
    return parameters
