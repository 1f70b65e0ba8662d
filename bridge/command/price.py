"""What a remote service will ask for, said before anything is sent."""

from bridge.jobs.local import chosen, load_able
from bridge.preferences import DEFAULT_BACKEND
from bridge.settings import Settings


def told(backend: str | None, settings: Settings, pictures: int = 1) -> str:
    """A sentence; empty where nothing leaves this computer. Raises BackendUnavailable, where none can be sent."""
    name = chosen(backend)
    if name == DEFAULT_BACKEND:  # not even loaded for this: a batch's own processes do that
        return ""
    able = load_able(name)
    title, dollars = able.capabilities().title, able.estimate(1024, 1024, settings).dollars
    if not able.capabilities().remote:
        return ""
    if pictures == 1:
        return f"Sending the picture to {title}: about ${dollars:.2f}."
    return f"Sending {pictures} pictures to {title} at about ${dollars:.2f} each: ${dollars * pictures:.2f} at most."
