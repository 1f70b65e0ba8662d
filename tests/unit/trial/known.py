"""The trial backends' names, by which they are loaded only when they are asked for, as the real ones are."""

from bridge.backends import registry

BACKENDS = {"trial": "Trial", "graphics": "Graphics", "elsewhere": "Elsewhere"}


def register() -> None:
    """Make the trial backends known beside the real ones."""
    for name, kind in BACKENDS.items():
        registry.register(name, f"tests.unit.trial.backends:{kind}")
