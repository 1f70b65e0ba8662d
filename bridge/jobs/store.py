"""What must survive a crash: one SQLite table with a row for each job, written before anyone is told anything."""

import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

from bridge.clock import now
from bridge.errors import UnflattenError
from bridge.jobs.columns import read_rows
from bridge.jobs.database import open_database, storing
from bridge.jobs.job import ENDED, Job, State
from bridge.jobs.rows import COLUMNS, from_row, to_row

_NOT_ENDED = f"state NOT IN ({', '.join('?' * len(ENDED))})"


class Store:
    """The table. What a method wrote survives a kill −9 when it returns.

    Raises OutOfSpace where the disk is full, and StoreFailed where the file cannot be used for another reason.
    """

    def __init__(self, path: Path | None) -> None:
        """Open the table at `path`; None: one in memory, for jobs that nobody will ask for after this process.

        What is damaged is put aside, rows or the whole file. Raises UnflattenError where nothing can be opened.
        """
        self._db = open_database(path)

    def close(self) -> None:
        self._db.close()

    def add(self, job: Job) -> None:
        """Write a new job down. Raises KeyError where its id is already there."""
        job.created = job.created or now()
        values = to_row(job)
        marks = ", ".join("?" * len(values))
        with storing():
            try:
                self._db.execute(
                    f"INSERT INTO jobs ({', '.join(values)}, nbytes) VALUES ({marks}, 0)", (*values.values(),)
                )
            except sqlite3.IntegrityError:
                raise KeyError(job.id) from None

    def save(self, job: Job, *, durable: bool = False) -> None:
        """Bring a job's row up to date. durable: it must survive a power cut, too, as the name of a paid job must."""
        values = to_row(job)
        assignments = ", ".join(f"{name} = ?" for name in values)
        with storing():
            if durable:
                self._db.execute("PRAGMA synchronous = FULL")
            try:
                self._db.execute(f"UPDATE jobs SET {assignments} WHERE id = ?", (*values.values(), job.id))
            finally:
                if durable:
                    self._db.execute("PRAGMA synchronous = NORMAL")

    def get(self, job_id: str) -> Job | None:
        row = self._jobs("WHERE id = ?", job_id)
        return row[0] if row else None

    def unfinished(self, owner: str) -> list[Job]:
        """The owner's jobs that have not ended, oldest first."""
        return self._jobs(f"WHERE owner = ? AND {_NOT_ENDED} ORDER BY created", owner, *ENDED)

    def ended(self) -> list[Job]:
        """Jobs that have ended, oldest first."""
        return self._jobs(f"WHERE NOT {_NOT_ENDED} ORDER BY ended", *ENDED)

    def equals(self, same_as: str) -> list[Job]:
        """Jobs that ask for the same, the latest first; none for an empty text."""
        return self._jobs("WHERE same_as = ? ORDER BY created DESC", same_as) if same_as else []

    def owners(self) -> list[str]:
        """Who has jobs that have not ended."""
        return [row[0] for row in self._ask(f"SELECT DISTINCT owner FROM jobs WHERE {_NOT_ENDED}", *ENDED)]

    def handles(self, except_for: str) -> tuple[str, ...]:
        """What services call the other jobs."""
        found = self._ask("SELECT handle FROM jobs WHERE handle <> '' AND id <> ?", except_for)
        return tuple(row[0] for row in found)

    def count_kept(self) -> int:
        """How many jobs have a result that can be fetched."""
        return self._ask("SELECT COUNT(*) FROM jobs WHERE state = ?", State.DONE)[0][0]

    def ids(self) -> set[str]:
        return {row[0] for row in self._ask("SELECT id FROM jobs")}

    def mark_delivered(self, job_id: str) -> None:
        """A client has been sent all of a job's result: who asks for the same again wants another."""
        with suppress(UnflattenError), storing():  # then it is merely served once more
            self._db.execute("UPDATE jobs SET delivered = 1 WHERE id = ?", (job_id,))

    def forget(self, job_id: str) -> None:
        with storing():
            self._db.execute("DELETE FROM jobs WHERE id = ?", (job_id,))

    def note_size(self, job_id: str, nbytes: int) -> None:
        """Write down how much of the disk an ended job's files take."""
        with storing():
            self._db.execute("UPDATE jobs SET nbytes = ? WHERE id = ?", (nbytes, job_id))

    def overdue(self, *, ended_before: float, now: float, most_bytes: int) -> list[str]:
        """Ended jobs to be erased: those that ended before then, those that have expired, and the oldest beyond
        `most_bytes` together. Moments are in seconds since the epoch."""
        found = self._ask(
            "SELECT id FROM (SELECT id, ended, expires, SUM(nbytes) OVER (ORDER BY ended DESC, id) AS kept FROM jobs"
            " WHERE ended IS NOT NULL) WHERE ended < ? OR expires < ? OR kept > ?",
            ended_before,
            now,
            most_bytes,
        )
        return [row[0] for row in found]

    def _jobs(self, where: str, *values: object) -> list[Job]:
        with storing():
            return read_rows(self._db, "jobs", COLUMNS, from_row, where, values)

    def _ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with storing():
            return self._db.execute(query, values).fetchall()
