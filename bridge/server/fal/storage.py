"""rest.fal.ai and v3.fal.media: uploads, and the files that can be fetched."""

from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import FileResponse, Response

from bridge.server.fal.documents import ERRORS, FILE, INITIATION, NOT_FOUND, TURNED_AWAY
from bridge.server.fal.errors import MOST_SOURCE, flat, json_response, not_found, of_pydantic, unprocessable
from bridge.server.fal.files import Files, TooLarge, UploadsFull, address
from bridge.server.fal.keys import Keys
from bridge.server.fal.pending import iso
from bridge.server.fal.run import way_of
from bridge.server.fal.schema import Initiated, Initiation, Token, Uploaded
from bridge.server.fal.submission import read_json, read_lifecycle, read_pieces

NEVER_RUN = {
    # pictures from anywhere, in whatever opens this address: nothing in them may run, or be taken for something else
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, no-store",
}
_UPLOAD_ERRORS = {code: ERRORS[code] for code in (400, 413, 422, 499, 500)}


def rest_routes(files: Files, keys: Keys) -> APIRouter:
    """Leave to upload, in both clients' ways."""
    routes = APIRouter(prefix="/storage", tags=["storage"])

    @routes.post("/auth/token", responses={200: {"model": Token}, **TURNED_AWAY})
    async def lend_token(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        """A token that uploads files for an hour."""
        token, end = keys.lend_token()
        told = {"token": token, "token_type": "Bearer", "base_url": way_of(request).media}
        # Python's client hands the end to datetime.fromisoformat, which knows no Z before 3.11
        return json_response({**told, "expires_at": iso(end).replace("Z", "+00:00")})

    @routes.post(
        "/upload/initiate",
        openapi_extra=INITIATION,
        responses={200: {"model": Initiated}, **_UPLOAD_ERRORS, **TURNED_AWAY},
    )
    async def initiate(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Announce a file; the answer says where to PUT it."""
        asked = await _read_initiation(request)
        expires = files.expiry(read_lifecycle(request))
        secret, name, file_name = files.initiate(asked.file_name, asked.content_type, expires)
        media = way_of(request).media
        return json_response({"upload_url": f"{media}/uploads/{secret}", "file_url": address(media, name, file_name)})

    @routes.post("/upload/initiate-multipart", status_code=413, responses={413: ERRORS[413], **TURNED_AWAY})
    async def initiate_in_parts() -> Response:  # pyright: ignore[reportUnusedFunction]
        """Clients send files in parts from about 100 MB on, which is more than is taken here."""
        raise _too_large()

    return routes


def media_routes(files: Files) -> APIRouter:
    """Files in and out."""
    routes = APIRouter(tags=["storage"])

    @routes.post(
        "/files/upload", openapi_extra=FILE, responses={200: {"model": Uploaded}, **_UPLOAD_ERRORS, **TURNED_AWAY}
    )
    async def upload(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Upload a file; the answer says where it can be fetched, and sent as image_url."""
        file_name = request.headers.get("x-fal-file-name", "upload.bin")
        content_type = request.headers.get("content-type", "")
        expires = files.expiry(read_lifecycle(request))
        name = await _receive(files, request, file_name, content_type, expires)
        stored = files.find(name)
        if stored is None:
            raise not_found("File")
        return json_response({"access_url": address(way_of(request).media, name, stored.file_name)})

    @routes.post("/files/upload/multipart", status_code=413, responses={413: ERRORS[413], **TURNED_AWAY})
    async def upload_in_parts() -> Response:  # pyright: ignore[reportUnusedFunction]
        """Clients send files in parts from about 100 MB on, which is more than is taken here."""
        raise _too_large()

    @routes.put(
        "/uploads/{secret}",
        openapi_extra=FILE,
        responses={200: {"description": "The file lies here whole"}, **_UPLOAD_ERRORS, **TURNED_AWAY, **NOT_FOUND},
    )
    async def put(request: Request, secret: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Send an announced file, once."""
        try:
            known = await files.receive_initiated(secret, read_pieces(request, MOST_SOURCE))
        except (TooLarge, UploadsFull) as error:
            raise flat(413, f"{error.message} {error.hint}", error.code) from None
        if not known:
            raise not_found("Upload")
        return json_response({})

    @routes.api_route(
        "/files/{name}/{file_name}",
        methods=["GET", "HEAD"],
        responses={
            200: {"description": "The file", "content": {"*/*": {}}},
            403: TURNED_AWAY[403],
            401: TURNED_AWAY[401],
            **NOT_FOUND,
        },
    )
    async def fetch(name: str, file_name: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        """A file, to whoever knows its name."""
        stored = files.find(name)
        if stored is None:
            raise not_found("File")
        return FileResponse(stored.path, media_type=stored.content_type, headers=NEVER_RUN)

    return routes


async def _read_initiation(request: Request) -> Initiation:
    try:
        return Initiation.model_validate(await read_json(request))
    except ValidationError as error:
        raise unprocessable(of_pydantic(error.errors(include_url=False), within=("body",))) from None


async def _receive(files: Files, request: Request, file_name: str, content_type: str, expires: float) -> str:
    pieces: AsyncIterator[bytes] = read_pieces(request, MOST_SOURCE)
    try:
        return await files.receive(pieces, file_name, content_type, expires)
    except (TooLarge, UploadsFull) as error:
        raise flat(413, f"{error.message} {error.hint}", error.code) from None


def _too_large() -> Exception:
    error = TooLarge()
    return flat(413, f"{error.message} {error.hint}", error.code)
