"""Fetches parts of models from a hub: python -m bridge.backends.diffusers.fetch list|fetch, in the models' environment.

It reads one JSON object from standard input, and writes JSON objects to standard output, one a line: what a repository
has, how far a download is, what went wrong. A file is downloaded under a name of its own, `NAME.HASH.incomplete`, goes
on where it stopped, and gets its name only when its hash is the hub's. Addresses, tokens, proxies and offline mode are
what huggingface_hub makes of the user's own environment.
"""

import errno
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # standard output is spoken by this module alone
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from bridge.errors import OutOfSpace, UnflattenError
from bridge.files.disk import FULL

PIECE = 2**20
TELL_EVERY = 8 * 2**20
"""Bytes between two lines of progress."""
TIMEOUT = 60.0
"""Seconds without a byte after which a connection counts as broken."""
AGAIN = "Run the same command again: it goes on where it stopped."


class FetchError(UnflattenError):
    """A hub, or the way there, did not give what was asked for."""

    code = "fetch_failed"
    kind = "service"
    retryable = True


def main(words: list[str]) -> int:
    try:
        asked = json.load(sys.stdin)
        if words == ["list"]:
            say(listed=[{**part, **_listed(part["repository"], part["patterns"])} for part in asked["parts"]])
        else:
            Fetch(Path(asked["folder"]), asked["parts"], asked["waits"]).run()
    except UnflattenError as error:
        say(error=error.as_dict())
        return 1
    except Exception as error:
        say(error=told(error).as_dict())
        return 1
    return 0


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


def told(error: Exception) -> UnflattenError:
    """What went wrong, as a sentence."""
    if isinstance(error, OfflineModeIsEnabled):
        return FetchError("Downloads are turned off (HF_HUB_OFFLINE is set).", "Unset it, or add a folder or file.")
    if isinstance(error, GatedRepoError):
        return FetchError(
            "The hub gives this model only to those who have agreed to its terms.",
            "Agree to them on the model's page, then set HF_TOKEN to a token of yours.",
        )
    if isinstance(error, RepositoryNotFoundError):
        return FetchError("The hub has no such model, or hides it.", "Look for a newer Unflatten, or set HF_TOKEN.")
    if isinstance(error, OSError) and error.errno in FULL:
        return OutOfSpace("The disk is full: the model could not be fetched whole.", f"Free some space. {AGAIN}")
    if isinstance(error, PermissionError) or (isinstance(error, OSError) and error.errno == errno.EROFS):
        return UnflattenError(
            f"{error.filename or 'The folder of models'} may not be written to.",
            "Set UNFLATTEN_MODELS to a folder of your own.",
            code="cannot_save",
            kind="resources",
        )
    status = (
        getattr(getattr(error, "response", None), "status_code", None) if isinstance(error, HfHubHTTPError) else None
    )
    why = f"it answered {status}" if status else f"{type(error).__name__}: {error}".splitlines()[0]
    return FetchError(f"The download broke off ({why}).", AGAIN)


def _listed(repository: str, patterns: list[str]) -> dict[str, Any]:
    """The repository's present revision, and those of its files that are wanted: size, sha256, git's own hash."""
    info = HfApi().model_info(repository, files_metadata=True)
    files = {
        each.rfilename: {
            "size": int(each.size or 0),
            "sha256": each.lfs.sha256 if each.lfs else "",
            "blob": each.blob_id or "",
        }
        for each in info.siblings or []
        if any(fnmatchcase(each.rfilename, pattern) for pattern in patterns) and _is_inside(each.rfilename)
    }
    if not files:
        raise FetchError(f"{repository} no longer has the files that are needed.", "Look for a newer Unflatten.")
    return {"revision": info.sha, "files": files}


def _is_inside(name: str) -> bool:
    """Does the name lead to a file within the folder that it is put in?"""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\\" not in name and ":" not in name


class Fetch:
    """One run: parts, each into its folder `NAME.part`."""

    def __init__(self, folder: Path, parts: list[dict[str, Any]], waits: list[float]) -> None:
        """waits: seconds before each further try, of those that bring nothing."""
        self._folder = folder
        self._parts = parts
        self._waits = waits
        self._done = 0
        self._told = 0

    def run(self) -> None:
        for part in self._parts:
            target = self._folder / f"{part['name']}.part"
            target.mkdir(parents=True, exist_ok=True)
            for name, file in sorted(part["files"].items(), key=lambda each: int(each[1]["size"])):
                if not _is_inside(name):
                    raise FetchError(f"{part['repository']} names a file that leads elsewhere.", "Nothing was kept.")
                self._file(part, name, file, target / name)
            say(fetched=part["name"])

    def _file(self, part: Mapping[str, Any], name: str, file: Mapping[str, Any], target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        before = self._done
        incomplete = target.with_name(f"{target.name}.{(file['sha256'] or file['blob'])[:16]}.incomplete")
        for other in target.parent.glob(f"{target.name}.*.incomplete"):
            if other != incomplete:  # of an older revision
                other.unlink()
        if target.is_file():
            if self._is_right(target, file, name):
                return
            target.unlink()
        if not incomplete.exists():
            _take_from_cache(part, name, int(file["size"]), incomplete)
        for resumed in (incomplete.exists(), False):
            self._done = before
            self._download(part, name, file, incomplete)
            self._done = before
            if self._is_right(incomplete, file, name):
                os.replace(incomplete, target)
                return
            incomplete.unlink()  # what went before was of another file, or damaged: once more, from its beginning
            if not resumed:
                break
        raise FetchError(f"{name} did not arrive as the hub has it: its hash differs. It was not kept.", AGAIN)

    def _download(self, part: Mapping[str, Any], name: str, file: Mapping[str, Any], incomplete: Path) -> None:
        """All of the file, from where it stopped; again while tries bring more, and a few times when they don't."""
        address = hf_hub_url(part["repository"], name, revision=part["revision"])
        size, waits = int(file["size"]), list(self._waits)
        while True:
            start = incomplete.stat().st_size if incomplete.exists() else 0
            if start > size:
                incomplete.unlink()
                start = 0
            if start == size and size:
                return
            try:
                return self._stream(address, incomplete, start, self._progress(name, self._done))
            except Exception as error:
                now = incomplete.stat().st_size if incomplete.exists() else 0
                if not _may_pass(error) or (now <= start and not waits):
                    raise
                if now <= start:
                    time.sleep(waits.pop(0))

    def _stream(self, address: str, incomplete: Path, start: int, tell: Callable[[int], None]) -> None:
        found = get_hf_file_metadata(address)  # anew for each try: where a large file lies is told for an hour only
        headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
        if urlsplit(found.location).netloc != urlsplit(address).netloc:
            headers.pop("authorization", None)  # the token is the hub's alone
        if start:
            headers["Range"] = f"bytes={start}-"
        with get_session().stream("GET", found.location, headers=headers, timeout=TIMEOUT) as answered:
            hf_raise_for_status(answered)
            if start and answered.status_code != 206:  # it sends all of it, wherever it was asked to begin
                incomplete.unlink()
                start = 0
            with open(incomplete, "ab") as stream:
                for piece in answered.iter_bytes():  # as they come: what a larger piece lacks at a cut would be lost
                    stream.write(piece)
                    start += len(piece)
                    tell(start)
                stream.flush()
                os.fsync(stream.fileno())

    def _is_right(self, path: Path, file: Mapping[str, Any], name: str) -> bool:
        """Is it the hub's own file, by its size and hash?"""
        size = path.stat().st_size
        if size != int(file["size"]):
            return False
        whole = hashlib.sha256() if file["sha256"] else hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
        tell = self._progress(f"{name} (checking)", self._done)
        with open(path, "rb") as stream:
            done = 0
            while piece := stream.read(PIECE):
                whole.update(piece)
                done += len(piece)
                tell(done)
        if whole.hexdigest() != (file["sha256"] or file["blob"]):
            return False
        self._done += size
        return True

    def _progress(self, name: str, start: int) -> Callable[[int], None]:
        def tell(done: int) -> None:
            now = start + done
            if abs(now - self._told) >= TELL_EVERY:
                self._told = now
                say(file=name, done=now)

        return tell


def _may_pass(error: Exception) -> bool:
    """Is it something that a further try may do better? A full disk, a wrong folder and a refusal are not."""
    if isinstance(error, OfflineModeIsEnabled | GatedRepoError | RepositoryNotFoundError):
        return False
    return not isinstance(error, OSError) or isinstance(error, ConnectionError | TimeoutError | HfHubHTTPError)


def _take_from_cache(part: Mapping[str, Any], name: str, size: int, incomplete: Path) -> None:
    """Use the file where huggingface_hub's own cache has it already: as a second name, which takes no space."""
    found = try_to_load_from_cache(part["repository"], name, revision=part["revision"])
    try:
        # only a whole one: what is linked must never be written to, it is the cache's own
        if isinstance(found, str) and os.path.getsize(found) == size:
            os.link(os.path.realpath(found), incomplete)
    except OSError:
        return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
