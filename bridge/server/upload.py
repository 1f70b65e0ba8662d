"""A picture on its way in: frames from the socket straight into the job's file, each while the next arrives."""

import asyncio
from dataclasses import replace

from bridge.errors import BadPicture
from bridge.jobs.files import JobFiles
from bridge.jobs.job import JobRequest
from bridge.jobs.reuse import Fingerprint
from bridge.protocol import CHUNK
from bridge.server.request import Decompose


class Upload:
    """The frames of one picture. Raises OutOfSpace and FileExistsError before the first is taken."""

    def __init__(self, decompose: Decompose, files: JobFiles) -> None:
        self.request: JobRequest = decompose.request
        self._chunks = decompose.chunks
        self._files = files
        self._expected = decompose.picture.nbytes
        self._incoming = files.receive(self.request.id, decompose.picture.nbytes)
        # what a service has had is not sent to it twice
        self._fingerprint = Fingerprint(self.request) if decompose.chosen.remote is not None else None
        self._writing: asyncio.Future[None] | None = None

    async def take(self, piece: bytes) -> bool:
        """Take one frame; whether it was the last and the picture lies whole. Raises BadPicture and OutOfSpace."""
        self._chunks -= 1
        self._expected -= len(piece)
        if len(piece) > CHUNK or self._expected < 0 or (self._chunks == 0) != (self._expected == 0):
            raise BadPicture("The picture arrived with another size than was said.", "Try again.", retryable=True)
        await self._written()
        self._writing = asyncio.ensure_future(asyncio.to_thread(self._write, piece))
        if self._chunks:
            return False
        await self._written()
        self._incoming.finish()
        if self._fingerprint is not None:
            self.request = replace(self.request, same_as=self._fingerprint.text())
        return True

    def _write(self, piece: bytes) -> None:
        self._incoming.write(piece)
        if self._fingerprint is not None:
            self._fingerprint.add(piece)

    async def drop(self) -> None:
        """The picture will not come whole: leave nothing of it."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
            self._writing.exception()
        self._incoming.close()
        self._files.erase(self.request.id)

    async def _written(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            await writing
