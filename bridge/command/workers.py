"""The worker processes of a command, of which the first starts before the command looks at what is asked of it: loading
its libraries takes as long as all the rest."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from bridge.jobs import supervisor
from bridge.jobs.supervisor import Workers


@asynccontextmanager
async def started() -> AsyncGenerator[Workers]:
    """Workers, one of which is on its way. They end with the block; where it fails, at once."""
    workers = Workers(None, command=supervisor.WORKER_COMMAND)
    await workers.prepare()
    try:
        yield workers
    except BaseException:
        workers.kill()
        raise
    finally:
        await workers.close()
