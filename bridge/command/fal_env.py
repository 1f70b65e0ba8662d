"""`unflatten fal-env`: the environment in which fal's own clients speak with this computer."""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from bridge.client import ensure_fal_api, open_fal_api
from bridge.errors import BadSettings, UnflattenError

SHELLS = ("sh", "fish", "powershell", "cmd")
KEEP_OPEN_EVERY = 60.0
"""Seconds; the bridge, which ends after a time without work, so learns that fal's API is still wanted."""
LOCAL = ("127.0.0.1", "localhost")
PRELOAD = Path(__file__).with_name("fal_env_node.cjs")


def variables(api: Mapping[str, Any], before: Mapping[str, str]) -> dict[str, str]:
    """What a command needs, by what the bridge tells of fal's API. before: the environment that it would have."""
    proxy, bundle = api["url"], api["bundle"]
    no_proxy = ",".join(_kept_from_proxies(before))
    return {
        "FAL_KEY": api["key"],
        # fal's hosts are asked for through this proxy, which answers for them itself and leads nowhere else
        **dict.fromkeys(("HTTPS_PROXY", "https_proxy"), proxy),
        **dict.fromkeys(("NO_PROXY", "no_proxy"), no_proxy),
        "FAL_RUN_HOST": "fal.run",
        "FAL_QUEUE_RUN_HOST": "queue.fal.run",
        # Python and curl; it holds all that they trusted before, and the bridge's own authority
        **dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), bundle),
        # Node knows no proxy before 24, and would then ask it for every other host, too: a preloaded file leads it
        "NODE_EXTRA_CA_CERTS": api["authority"],
        "NODE_OPTIONS": _node_options(before.get("NODE_OPTIONS", "")),
        "UNFLATTEN_FAL_URL": api["url"],
    }


def printed(values: Mapping[str, str], shell: str | None) -> str:
    """`values` as commands for a shell: sh, fish, powershell or cmd; None for this system's own. Raises BadSettings."""
    shell = shell or ("powershell" if sys.platform == "win32" else "sh")
    if shell not in SHELLS:
        raise BadSettings(f"There is no shell “{shell}” here.", f"Choose one of: {', '.join(SHELLS)}.")
    return "\n".join(_line(shell, name, value) for name, value in values.items())


def run(command: list[str], data: Path) -> int:
    """Run `command` in that environment; its exit code, or 128 and the signal that ended it.

    The API stays open as long as the command runs. Raises UnflattenError where it cannot be opened.
    """
    api = ensure_fal_api(data)
    environment = {**os.environ, **variables(api, os.environ)}
    program = shutil.which(command[0], path=environment.get("PATH"))
    if program is None:
        raise UnflattenError(f"There is no command “{command[0]}”.", "Check its name.", code="no_command")
    with _kept_open(data):
        try:
            process = subprocess.Popen([program, *command[1:]], env=environment)
        except OSError as error:
            raise UnflattenError(f"“{command[0]}” cannot be run: {error.strerror}.", code="no_command") from None
        with _signals_left_to(process):
            code = process.wait()
    return 128 - code if code < 0 else code


def _kept_from_proxies(before: Mapping[str, str]) -> list[str]:
    """What must not go through a proxy: this computer, and what was so before, but never fal's own hosts."""
    given = before.get("no_proxy") or before.get("NO_PROXY") or ""
    others = [each.strip() for each in given.split(",") if each.strip()]
    fals = ("fal.run", "fal.ai", "fal.media")
    kept = [each for each in others if each != "*" and not each.lstrip("*.").lower().endswith(fals)]
    return list(dict.fromkeys([*LOCAL, *(each for each in kept if each not in ("run", "ai", "media"))]))


def _node_options(before: str) -> str:
    quoted = str(PRELOAD).replace("\\", "\\\\").replace('"', '\\"')
    ours = f'--require "{quoted}"'
    return before if ours in before else f"{before} {ours}".strip()


def _line(shell: str, name: str, value: str) -> str:
    match shell:
        case "fish":
            escaped = value.replace("\\", "\\\\").replace("'", "\\'")
            return f"set -gx {name} '{escaped}';"
        case "powershell":
            escaped = value.replace("'", "''")
            return f"$Env:{name} = '{escaped}'"
        case "cmd":
            return f'set "{name}={value}"'
        case _:
            return f"export {name}={shlex.quote(value)}"


@contextlib.contextmanager
def _kept_open(data: Path) -> Generator[None]:
    ended = threading.Event()

    def remind() -> None:
        while not ended.wait(KEEP_OPEN_EVERY):
            with contextlib.suppress(UnflattenError):
                open_fal_api(data)

    threading.Thread(target=remind, name="keep-open", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


@contextlib.contextmanager
def _signals_left_to(process: subprocess.Popen[bytes]) -> Generator[None]:
    """What would end this command ends the other one instead, and then this one by itself."""

    def pass_on(number: int, _: FrameType | None) -> None:
        # Ctrl+C in a terminal reaches both by itself
        if number != signal.SIGINT:
            process.send_signal(number)

    names = ("SIGINT", "SIGTERM", "SIGHUP")
    before = {name: signal.signal(getattr(signal, name), pass_on) for name in names if hasattr(signal, name)}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
