"""What a service will ask for, said before anything is sent."""

from bridge.backends.choice import Choice
from bridge.settings import Settings


def told(chosen: Choice, settings: Settings, pictures: int = 1) -> str:
    """A sentence; empty where nothing leaves this computer."""
    if not chosen.backend.placement.leaves_computer:
        return ""
    title, dollars = chosen.capabilities().title, chosen.backend.estimate(1024, 1024, settings).dollars
    what = f"Sending {'the picture' if pictures == 1 else f'{pictures} pictures'} to {title}"
    if not dollars:
        return f"{what}."
    if pictures == 1:
        return f"{what}: about ${dollars:.2f}."
    return f"{what} at about ${dollars:.2f} each: ${dollars * pictures:.2f} at most."
