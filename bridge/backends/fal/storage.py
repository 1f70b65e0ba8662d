"""The picture's way into fal's storage, where the model fetches it."""

import base64
import json

from bridge.backends.fal import troubles
from bridge.backends.fal.wire import Answer, Wire
from bridge.urls import UnsafeURL, check_url

PATIENCE = 30.0
"""Seconds that an upload is tried for: nothing is lost yet, and the artist waits for a word."""
MOST_PLACES = 3
SMALL = 48 * 1024
"""Bytes up to which a picture goes along in the order itself: two calls less, and nothing lies in the storage."""
KEPT = 3600
"""Seconds that fal is asked to keep the picture and its layers."""
LIFECYCLE = {"X-Fal-Object-Lifecycle-Preference": json.dumps({"expiration_duration_seconds": KEPT})}


async def place(packed: bytes, wire: Wire) -> str:
    """What the order names as the picture. packed: a PNG file. Raises Trouble.

    A place that refuses the picture may have had it already, and its answer was lost: then another place is asked for.
    """
    if len(packed) <= SMALL:
        return f"data:image/png;base64,{base64.b64encode(packed).decode()}"
    for _ in range(MOST_PLACES):
        upload_url, file_url = await _announced(wire)
        answer = await _put(packed, upload_url, wire)
        if answer.ok:
            return file_url
        if answer.status == 413:
            raise troubles.trouble_of(answer.status, answer.headers, answer.body)
    raise troubles.failure("file_download_error")


async def _announced(wire: Wire) -> tuple[str, str]:
    """Where the picture may be put, and where it is then fetched."""
    answer = await wire.insist(
        "POST",
        f"{wire.places.rest}/storage/upload/initiate",
        params={"storage_type": "fal-cdn-v3"},
        json={"content_type": "image/png", "file_name": "picture.png"},
        headers=LIFECYCLE,
        patience=PATIENCE,
    )
    if answer is None:
        raise troubles.unreachable()
    if not answer.ok:
        raise troubles.trouble_of(answer.status, answer.headers, answer.body)
    told = answer.json()
    upload_url, file_url = told.get("upload_url"), told.get("file_url")
    if not isinstance(upload_url, str) or not isinstance(file_url, str):
        raise troubles.bad_result("does not say where the picture may be put")
    return upload_url, file_url


async def _put(packed: bytes, url: str, wire: Wire) -> Answer:
    """Without the key: the URL itself is what lets the picture in."""
    try:
        check_url(url, wire.places.exempt)
        answer = await wire.insist(
            "PUT",
            url,
            careful=True,
            content=packed,
            headers={"Content-Type": "image/png"},
            patience=PATIENCE,
            tells=False,
        )
    except UnsafeURL:
        raise troubles.bad_result("names a place for the picture that is none of fal’s") from None
    if answer is None:
        raise troubles.unreachable()
    return answer
