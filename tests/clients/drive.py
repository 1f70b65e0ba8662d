"""fal_client over lines of JSON: {call, with} in, {value} or {error} out. `async` as argument: its async half."""

import asyncio
import base64
import dataclasses
import inspect
import json
import sys
from typing import Any

import fal_client
import httpx

ENDPOINT = "fal-ai/qwen-image-layered"
ASYNC = "async" in sys.argv
Json = dict[str, Any]


def make_client(key: str | None) -> Any:
    return (fal_client.AsyncClient if ASYNC else fal_client.SyncClient)(key=key)


async def awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def each(values: Any) -> list[Any]:
    return [value async for value in values] if hasattr(values, "__aiter__") else list(values)


def told(status: fal_client.Status) -> Json:
    names = {fal_client.Queued: "IN_QUEUE", fal_client.InProgress: "IN_PROGRESS", fal_client.Completed: "COMPLETED"}
    return {"status": names[type(status)], **dataclasses.asdict(status)}


async def perform(call: str, given: Json) -> Any:
    client = make_client(given.pop("key", None))
    endpoint = given.pop("endpoint", ENDPOINT)
    match call:
        case "run":
            return await awaited(client.run(endpoint, given.pop("input"), **given))
        case "submit":
            handle = await awaited(client.submit(endpoint, given.pop("input"), **given))
            return handle.request_id
        case "status":
            return told(await awaited(client.status(endpoint, given["request"], with_logs=given["logs"])))
        case "result":
            return await awaited(client.result(endpoint, given["request"]))
        case "cancel":
            return await awaited(client.cancel(endpoint, given["request"]))
        case "events":
            handle = client.get_handle(endpoint, given["request"])
            handle = await awaited(handle)
            return [told(status) for status in await each(handle.iter_events(with_logs=True))]
        case "subscribe":
            updates: list[Json] = []
            enqueued: list[str] = []
            result = client.subscribe(
                endpoint,
                given.pop("input"),
                with_logs=True,
                on_enqueue=enqueued.append,
                on_queue_update=lambda status: updates.append(told(status)),
                **given,
            )
            return {"result": await awaited(result), "updates": updates, "request": enqueued[0]}
        case "stream":
            return await each(client.stream(endpoint, given["input"]))
        case "upload":
            content = base64.b64decode(given["content"])
            return await awaited(client.upload(content, given["type"], given["name"]))
        case "upload_expiring":
            lifecycle = fal_client.StorageSettings(expires_in=given["seconds"])
            content = base64.b64decode(given["content"])
            return await awaited(client.upload(content, "image/png", "short.png", lifecycle=lifecycle))
        case "upload_storage":
            content = base64.b64decode(given["content"])
            return await awaited(client.upload(content, "image/png", "other.png", repository="fal"))
        case "upload_file":
            return await awaited(client.upload_file(given["path"]))
        case "upload_image":
            from PIL import Image

            return await awaited(client.upload_image(Image.open(given["path"]), "png"))
        case "encode_file":
            return fal_client.encode_file(given["path"])
        case "fetch":
            answer = httpx.get(given["url"])
            answer.raise_for_status()
            return base64.b64encode(answer.content).decode()
        case _:
            raise NotImplementedError(call)


async def answer(order: Json) -> Json:
    try:
        return {"value": await perform(order["call"], order["with"])}
    except fal_client.FalClientHTTPError as error:
        body = error.response.json()
        headers = {name: error.response_headers.get(f"x-fal-{name}") for name in ("request-id", "retryable")}
        return {"error": {"status": error.status_code, "body": body, "type": error.error_type, **headers}}
    except httpx.HTTPStatusError as error:
        body = json.loads(await error.response.aread() if ASYNC else error.response.read())
        return {"error": {"status": error.response.status_code, "body": body}}
    except Exception as error:
        return {"error": {"status": 0, "body": f"{type(error).__name__}: {error}"}}


async def main() -> None:
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
