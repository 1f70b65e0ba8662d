"""The environment of a worker process: the engine's own, without the user's keys.

A worker opens pictures that come from anywhere, with libraries that have had holes. It speaks with no service, so it
needs no key, and what it does not have cannot be taken from it.
"""

import os
import re
from collections.abc import Mapping

SECRETS = re.compile("KEY|TOKEN|SECRET|PASS|PWD|CRED|AUTH|COOKIE|(^|_)PAT($|_)", re.IGNORECASE)
"""Names that may be a secret's; to leave out one that is none costs nothing."""
LOGIN = re.compile(r"://[^/\s]*@")
"""An address with a user's name and password in it, as proxies' and databases' have."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")


def environment() -> dict[str, str]:
    """What a worker gets, with as many threads as cores that this process may use (a container's limit is not the
    machine's)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {**without_secrets(os.environ), **dict.fromkeys(THREADS, str(cores))}


def without_secrets(given: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in given.items() if not (SECRETS.search(name) or LOGIN.search(value))}
