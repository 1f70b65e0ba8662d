"""Krita's session: one WebSocket connection, as protocol.py describes it."""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Coroutine
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from bridge import protocol
from bridge.backends.choice import offers
from bridge.errors import Cancelled, UnflattenError
from bridge.jobs.engine import Engine
from bridge.jobs.errors import DuplicateJob
from bridge.jobs.job import Done, Failed, JobEvent, LayerReady, Previewed, Progressed, Stacked
from bridge.server import json_text, request
from bridge.server.outbox import Outbox
from bridge.server.upload import Upload

MOST_SESSIONS = 64
HELLO_PATIENCE = 10.0
UPLOAD_PATIENCE = 60.0
"""Seconds that a picture on its way in may stand still."""
TAKING_PATIENCE = 60.0
"""Seconds that a client may leave its answers lie, once they are many."""
LONGEST_TEXT = 2**18
"""Characters in one JSON frame: prompts fit many times over, and hundreds of jobs may wait with theirs."""

TRY_AGAIN_LATER = 1013
PROTOCOL_ERROR = 1002
INTERNAL_ERROR = 1011

Message = dict[str, Any]

log = logging.getLogger("unflatten")


class Sessions:
    """The connections that are open."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._numbers = itertools.count(1)
        self._open: set[Session] = set()

    def __len__(self) -> int:
        return len(self._open)

    async def serve(self, socket: WebSocket) -> None:
        """Serve one connection, from the handshake to its end."""
        await socket.accept()
        if len(self._open) >= MOST_SESSIONS:
            await socket.close(TRY_AGAIN_LATER, "Too many programs are connected to the bridge.")
            return
        session = Session(socket, self._engine, next(self._numbers))
        self._open.add(session)
        try:
            await session.run()
        finally:
            self._open.discard(session)
            if not self._open:
                self._engine.workers.no_clients()

    async def flushed(self) -> None:
        """Return once every client has been sent what there was for it."""
        await asyncio.gather(*(session.outbox.flushed() for session in self._open))


class Session:
    """One client: what it sends is read here, what it is told goes through its outbox."""

    def __init__(self, socket: WebSocket, engine: Engine, number: int) -> None:
        self.outbox = Outbox(engine.store.mark_delivered)
        self._socket = socket
        self._engine = engine
        self._number = number
        self._upload: Upload | None = None
        self._skipping = False
        """Pixels of a picture that was refused or dropped may still be on their way."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._previews = False

    async def run(self) -> None:
        """Read and answer until either side leaves."""
        reading, sending = asyncio.create_task(self._converse()), asyncio.create_task(self._send())
        try:
            # also where sending alone ends: a session that can say nothing any more must not seem to listen
            await asyncio.wait({reading, sending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._engine.leave(self._hear)
            tasks = [reading, sending, *self._tasks]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self._drop_upload()

    async def _converse(self) -> None:
        try:
            if await self._hello():
                while True:
                    async with asyncio.timeout(TAKING_PATIENCE):
                        await self.outbox.room()
                    await self._read()
                    await asyncio.sleep(0)  # thousands may have come at once: the other clients have their turn
        except WebSocketDisconnect:
            pass
        except TimeoutError:
            log.info("client %d does not take its answers", self._number)
            await self._close(TRY_AGAIN_LATER, "The answers are not read.")

    async def _send(self) -> None:
        try:
            await self.outbox.send_to(self._socket)
        except WebSocketDisconnect:
            pass
        except OSError:
            log.exception("client %d: a layer could not be sent", self._number)
            await self._close(INTERNAL_ERROR, "A layer could not be read from the disk.")
        except Exception:
            log.exception("client %d: an answer could not be sent", self._number)
            await self._close(INTERNAL_ERROR, "An answer could not be sent.")

    async def _close(self, code: int, why: str) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # gone already
            await self._socket.close(code, why)

    # What the client sends

    async def _hello(self) -> bool:
        try:
            async with asyncio.timeout(HELLO_PATIENCE):
                message = self._decode(await self._receive())
            if message["type"] != "hello":
                raise protocol.ProtocolError("The first message must be “hello”.")
            problem = protocol.version_problem(request.read_protocol(message))
        except (TimeoutError, protocol.ProtocolError) as error:
            await self._turn_away("protocol", str(error) or "No “hello” arrived in time.")
            return False
        if problem is not None:
            await self._turn_away("protocol_version", problem)
            return False
        self._previews = message.get("previews") is True
        self.outbox.put(protocol.encode("welcome", protocol=protocol.VERSION))
        return True

    async def _turn_away(self, code: str, sentence: str) -> None:
        self.outbox.put(protocol.encode("error", **UnflattenError(sentence, code=code).as_dict()))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.outbox.flushed(), HELLO_PATIENCE)
        await self._close(PROTOCOL_ERROR, "")

    async def _read(self) -> None:
        """Take the next frame. Whatever is wrong with it is told, and the session goes on."""
        job = self._upload.request.id if self._upload is not None else None
        try:
            async with asyncio.timeout(UPLOAD_PATIENCE if self._upload is not None else None):
                frame = await self._receive()
            if "bytes" in frame:
                await self._take_pixels(frame["bytes"])
                return
            message = self._decode(frame)
            job = request.named_job(message)
            await self._answer(message)
        except protocol.ProtocolError as error:
            self._tell_error(_misunderstood(error), job)
        except TimeoutError:
            await self._drop_upload()
            self._tell_error(
                UnflattenError("The picture did not arrive whole.", "Try again.", code="upload", retryable=True), job
            )
        except UnflattenError as error:
            self._tell_error(error, job)
        except WebSocketDisconnect:
            raise
        except Exception:
            log.exception("client %d", self._number)
            self._tell_error(UnflattenError("Something went wrong inside the bridge.", "Try again."), job)

    async def _receive(self) -> Message:
        """The next frame: {text} or {bytes}."""
        frame = await self._socket.receive()
        if frame["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(frame.get("code") or 1000)
        return {kind: frame[kind] for kind in ("text", "bytes") if frame.get(kind) is not None}

    def _decode(self, frame: Message) -> Message:
        if "text" not in frame:
            raise protocol.ProtocolError("Pixels arrived where a message was expected.")
        if len(frame["text"]) > LONGEST_TEXT:
            raise protocol.ProtocolError("A message is too long.")
        try:
            told = json_text.read(frame["text"])
        except (ValueError, RecursionError):
            raise protocol.ProtocolError("A message that is not JSON arrived.") from None
        return protocol.understood(told, protocol.CLIENT_MESSAGES)

    async def _answer(self, message: Message) -> None:
        match message["type"]:
            case "decompose":
                await self._start(message)
            case "cancel":
                await self._cancel(request.read_job(message))
            case "attach":
                self._engine.attach(request.read_job(message), request.read_have(message), self._hear)
            case "backends":
                self.outbox.put(protocol.encode("backends", backends=offers()))
            case "estimate":
                self._tell_estimate(message)
            case other:
                raise protocol.ProtocolError(f"The message “{other}” came out of its turn.")

    async def _start(self, message: Message) -> None:
        """Check a job before a byte of its picture is taken, and have a worker ready by the time it has arrived."""
        await self._drop_upload()
        self._skipping = True
        asked = request.read_decompose(message, f"krita-{self._number}")
        self._engine.check_open(asked.request.id)
        try:
            self._upload = Upload(asked, self._engine.files)
        except FileExistsError:
            raise DuplicateJob() from None
        self._skipping = False
        self._later(self._engine.workers.prepare(asked.request.backend))

    async def _take_pixels(self, piece: bytes) -> None:
        upload = self._upload
        if upload is None:
            if not self._skipping:
                raise protocol.ProtocolError("Pixels arrived that belong to no picture.")
            return
        try:
            if not await upload.take(piece):
                return
            position = self._engine.submit(upload.request, self._hear)
        except BaseException:
            await self._drop_upload()
            raise
        self._upload = None
        self.outbox.put(protocol.encode("accepted", job=upload.request.id, position=position))

    async def _cancel(self, job: str) -> None:
        if self._upload is not None and self._upload.request.id == job:
            await self._drop_upload()
            self._tell_error(Cancelled(), job)
        else:
            self._engine.cancel(job)

    async def _drop_upload(self) -> None:
        upload, self._upload = self._upload, None
        if upload is not None:
            self._skipping = True
            await upload.drop()

    # What the client is told

    def _hear(self, job: str, event: JobEvent) -> None:
        match event:
            case Progressed(stage, step, steps, left):
                known = {} if left is None else {"seconds_left": left}
                text = protocol.encode("progress", job=job, stage=stage, step=step, steps=steps, **known)
                self.outbox.put_passing(job, text)
            case Previewed():
                if self._previews:
                    self.outbox.put_preview(job, event)
            case Stacked(layers=layers):
                outlines = [{"name": each.name, "kind": each.kind, "rect": list(each.rect)} for each in layers]
                self.outbox.put(protocol.encode("stack", job=job, layers=outlines))
            case LayerReady():
                self.outbox.put_layer(job, event)
            case Done(report):
                self.outbox.put_end(job, protocol.encode("done", job=job, report=report))
            case Failed(error):
                self._tell_error(error, job)

    def _tell_error(self, error: UnflattenError, job: str | None) -> None:
        about = {} if job is None else {"job": job}
        self.outbox.put(protocol.encode("error", **about, **error.as_dict()))

    def _tell_estimate(self, message: Message) -> None:
        width, height = request.read_size(message)
        chosen = request.read_choice(message)
        estimate = chosen.backend.estimate(width, height, request.read_settings(message))
        seconds = round(estimate.seconds * self._engine.executor.pace(chosen.name), 1)
        self.outbox.put(protocol.encode("estimate", seconds=seconds, dollars=estimate.dollars))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        """Do what takes a while without keeping the client's next frame waiting."""
        task = asyncio.create_task(self._told(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _told(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except UnflattenError as error:
            self._tell_error(error, None)
        except protocol.ProtocolError as error:
            self._tell_error(_misunderstood(error), None)
        except Exception:
            log.exception("client %d", self._number)
            self._tell_error(UnflattenError("Something went wrong inside the bridge.", "Try again."), None)


def _misunderstood(error: protocol.ProtocolError) -> UnflattenError:
    return UnflattenError(str(error), "Run “python3 install.py” again, then restart Krita.", code="protocol")
