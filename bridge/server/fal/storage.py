"""rest.fal.ai and v3.fal.media: uploads, and the files that can be fetched."""

from collections.abc import Awaitable
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from bridge.errors import UnflattenError
from bridge.server.fal.body import read_json, read_pieces
from bridge.server.fal.errors import MOST_SOURCE, FalError, flat, json_response, not_found
from bridge.server.fal.files import Files, TooLarge, UploadsFull, address
from bridge.server.fal.hosts import urls_of
from bridge.server.fal.keys import Keys
from bridge.server.fal.pending import iso
from bridge.server.fal.submission import Initiation, checked, read_lifecycle

Taken = TypeVar("Taken")

NEVER_RUN = {
    # pictures from anywhere, in whatever opens this address: nothing in them may run, or be taken for something else
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, no-store",
}


class Storage:
    """Leave to upload, in both clients' ways, and files in and out."""

    def __init__(self, files: Files, keys: Keys) -> None:
        self._files = files
        self._keys = keys

    def rest_routes(self) -> list[Route]:
        return [
            Route("/storage/auth/token", self.lend_token, methods=["POST"]),
            Route("/storage/upload/initiate", self.initiate, methods=["POST"]),
            Route("/storage/upload/initiate-multipart", self.refuse_parts, methods=["POST"]),
        ]

    def media_routes(self) -> list[Route]:
        return [
            Route("/files/upload", self.upload, methods=["POST"]),
            Route("/files/upload/multipart", self.refuse_parts, methods=["POST"]),
            Route("/uploads/{secret}", self.put, methods=["PUT"]),
            Route("/files/{name}/{file_name}", self.fetch, methods=["GET"]),
        ]

    async def lend_token(self, request: Request) -> Response:
        """A token that uploads files for an hour."""
        token, end = self._keys.lend_token()
        # Python's client hands the end to datetime.fromisoformat, which knows no Z before 3.11
        expires = iso(end).replace("Z", "+00:00")
        body = {"token": token, "token_type": "Bearer", "base_url": urls_of(request).media, "expires_at": expires}
        return json_response(body)

    async def initiate(self, request: Request) -> Response:
        """Announce a file; the answer says where to PUT it."""
        announced = checked(Initiation, await read_json(request), "body")
        expires = self._files.expiry(read_lifecycle(request))
        secret, name, file_name = self._files.initiate(announced.file_name, announced.content_type, expires)
        media = urls_of(request).media
        return json_response({"upload_url": f"{media}/uploads/{secret}", "file_url": address(media, name, file_name)})

    async def refuse_parts(self, request: Request) -> Response:
        """Clients send files in parts from about 100 MB on, which is more than is taken here."""
        raise _refused(TooLarge())

    async def upload(self, request: Request) -> Response:
        """Upload a file; the answer says where it can be fetched, and sent as image_url."""
        file_name = request.headers.get("x-fal-file-name", "upload.bin")
        content_type = request.headers.get("content-type", "")
        expires = self._files.expiry(read_lifecycle(request))
        pieces = read_pieces(request, MOST_SOURCE)
        name = await _received(self._files.receive(pieces, file_name, content_type, expires))
        stored = self._files.find(name)
        if stored is None:
            raise not_found("File")
        return json_response({"access_url": address(urls_of(request).media, name, stored.file_name)})

    async def put(self, request: Request) -> Response:
        """Send an announced file, once."""
        pieces = read_pieces(request, MOST_SOURCE)
        if not await _received(self._files.receive_initiated(request.path_params["secret"], pieces)):
            raise not_found("Upload")
        return json_response({})

    async def fetch(self, request: Request) -> Response:
        """A file, to whoever knows its name."""
        stored = self._files.find(request.path_params["name"])
        if stored is None:
            raise not_found("File")
        return FileResponse(stored.path, media_type=stored.content_type, headers=NEVER_RUN)


async def _received(receiving: Awaitable[Taken]) -> Taken:
    try:
        return await receiving
    except (TooLarge, UploadsFull) as error:
        raise _refused(error) from None


def _refused(error: UnflattenError) -> FalError:
    return flat(413, f"{error.message} {error.hint}", error.code)
