"""The API's application: which of fal's addresses leads where."""

import logging
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from bridge.errors import UnflattenError
from bridge.jobs.files import JobFiles
from bridge.server.fal.documents import NOT_FOUND, TURNED_AWAY, make_openapi, queue_openapi
from bridge.server.fal.errors import FalError, flat, json_response, not_found, of_error, of_pydantic, unprocessable
from bridge.server.fal.files import Files
from bridge.server.fal.hosts import ENDPOINT, PLACES
from bridge.server.fal.keys import Keys
from bridge.server.fal.platform import platform_routes
from bridge.server.fal.queue import queue_routes
from bridge.server.fal.requests import Requests
from bridge.server.fal.run import run_routes
from bridge.server.fal.storage import media_routes, rest_routes

log = logging.getLogger("unflatten")


def make_fal_app(requests: Requests, jobs: JobFiles, files: Files, keys: Keys) -> FastAPI:
    """All of fal's places, each under its path. Nothing here asks who comes: that was done before."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    run = run_routes(requests, jobs)
    app.include_router(run)
    app.include_router(run, prefix=PLACES["fal.run"])
    app.include_router(queue_routes(requests, jobs), prefix=PLACES["queue.fal.run"])
    app.include_router(rest_routes(files, keys), prefix=PLACES["rest.fal.ai"])
    app.include_router(media_routes(files), prefix=PLACES["v3.fal.media"])
    app.include_router(platform_routes(requests), prefix=PLACES["api.fal.ai"])
    documents: dict[str, dict[str, Any]] = {}

    def document() -> dict[str, Any]:
        if not documents:
            documents["whole"] = make_openapi(app)
        return documents["whole"]

    @app.get("/openapi.json", include_in_schema=False)
    async def whole_document() -> Response:  # pyright: ignore[reportUnusedFunction]
        return json_response(document())

    @app.get("/api/openapi/queue/openapi.json", responses={200: {}, **TURNED_AWAY, **NOT_FOUND}, tags=["documents"])
    async def queue_document(endpoint_id: Annotated[str, Query()]) -> Response:  # pyright: ignore[reportUnusedFunction]
        """The endpoint's own document, as fal serves it."""
        if endpoint_id != ENDPOINT:
            raise not_found("Endpoint")
        return json_response(queue_openapi(document()))

    @app.exception_handler(FalError)
    async def tell(_: Request, error: FalError) -> Response:  # pyright: ignore[reportUnusedFunction]
        return error.response()

    @app.exception_handler(UnflattenError)
    async def tell_ours(_: Request, error: UnflattenError) -> Response:  # pyright: ignore[reportUnusedFunction]
        return of_error(error).response()

    @app.exception_handler(RequestValidationError)
    async def tell_wrong(_: Request, error: RequestValidationError) -> Response:  # pyright: ignore[reportUnusedFunction]
        return unprocessable(of_pydantic(error.errors())).response()

    @app.exception_handler(HTTPException)
    async def tell_http(_: Request, error: HTTPException) -> Response:  # pyright: ignore[reportUnusedFunction]
        kind = {404: "Path /… not found", 405: "Method not allowed"}.get(error.status_code, str(error.detail))
        return flat(error.status_code, kind).response(error.headers)

    @app.exception_handler(Exception)
    async def tell_bug(_: Request, error: Exception) -> Response:  # pyright: ignore[reportUnusedFunction]
        return of_error(UnflattenError("Something went wrong inside the bridge.", "Try again.")).response()

    return app
