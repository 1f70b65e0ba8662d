"""Registers Unflatten with Krita; nothing else."""

try:
    from krita import Krita  # pyright: ignore[reportMissingImports]
except ImportError:
    pass
else:
    from .actions import Unflatten

    Krita.instance().addExtension(Unflatten(Krita.instance()))
