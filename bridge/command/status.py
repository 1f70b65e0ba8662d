"""What a running bridge tells of itself, in words: `unflatten status`."""

from collections.abc import Mapping
from typing import Any

from bridge.client import FAL_API


def described(told: Mapping[str, Any] | None) -> str:
    """For people. told: what the bridge answered; None: none runs."""
    if told is None:
        return "The bridge is not running. Krita starts it when it needs it; so does “unflatten serve”."
    jobs = ", ".join(f"{count} {state}" for state, count in told["jobs"].items() if count) or "none"
    memory = sum(told["memory"].values()) / 2**20
    lines = [
        f"The bridge {told['version']} runs (process {told['pid']}), for {_duration(told['uptime'])}.",
        f"Jobs: {jobs}. Connected: {told['clients']}. Memory: {memory:.0f} MB.",
    ]
    fal_api = told.get(FAL_API, {})
    if fal_api.get("open"):
        lines.append(f"fal's API is open at {fal_api['url']}.")
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    minutes = int(seconds // 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
