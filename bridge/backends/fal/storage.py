"""The picture's way into fal's storage, where the model fetches it."""

import base64
import json

from bridge.backends.fal import errors
from bridge.backends.fal.client import Answer, Client
from bridge.urls import UnsafeURL, check_url

PATIENCE = 30.0
"""Seconds that an upload is tried for: nothing is lost yet, and the artist waits for a word."""
MOST_URLS = 3
"""Times that fal is asked for a URL to upload to."""
SMALL = 48 * 1024
"""Bytes up to which a picture goes along in the request itself: two calls less, and nothing lies in the storage."""
KEPT = 3600
"""Seconds that fal is asked to keep the picture and its layers."""
LIFECYCLE = {"X-Fal-Object-Lifecycle-Preference": json.dumps({"expiration_duration_seconds": KEPT})}


async def upload(packed: bytes, client: Client) -> str:
    """What the request names as the picture. packed: a PNG file. Raises RemoteError.

    A URL that refuses the picture may have had it already, and its answer was lost: then another one is asked for.
    """
    if len(packed) <= SMALL:
        return f"data:image/png;base64,{base64.b64encode(packed).decode()}"
    for _ in range(MOST_URLS):
        upload_url, file_url = await _initiate(client)
        answer = await _put(packed, upload_url, client)
        if answer.ok:
            return file_url
        if answer.status == 413:
            raise errors.of_answer(answer.status, answer.headers, answer.body)
    raise errors.failure("file_download_error")


async def _initiate(client: Client) -> tuple[str, str]:
    """Where the picture may be put, and where it is then fetched."""
    answer = await client.insist(
        "POST",
        f"{client.addresses.rest}/storage/upload/initiate",
        params={"storage_type": "fal-cdn-v3"},
        json={"content_type": "image/png", "file_name": "picture.png"},
        headers=LIFECYCLE,
        patience=PATIENCE,
    )
    if answer is None:
        raise errors.unreachable()
    if not answer.ok:
        raise errors.of_answer(answer.status, answer.headers, answer.body)
    upload_url, file_url = answer.json.get("upload_url"), answer.json.get("file_url")
    if not isinstance(upload_url, str) or not isinstance(file_url, str):
        raise errors.bad_result("does not say where the picture may be put")
    return upload_url, file_url


async def _put(packed: bytes, url: str, client: Client) -> Answer:
    """Without the key: the URL itself is what lets the picture in."""
    try:
        check_url(url, client.addresses.exempt)
        answer = await client.insist(
            "PUT",
            url,
            careful=True,
            content=packed,
            headers={"Content-Type": "image/png"},
            patience=PATIENCE,
            tells=False,
        )
    except UnsafeURL:
        raise errors.bad_result("names a place for the picture that is none of fal’s") from None
    if answer is None:
        raise errors.unreachable()
    return answer
