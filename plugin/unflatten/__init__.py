"""Registers Unflatten with Krita; nothing else."""

try:
    from krita import Krita  # pyright: ignore[reportMissingImports]
except ImportError:
    pass
else:
    from .actions import Unflatten

    # Held here: from Krita 5.3 on, Krita forgets it once anyone calls Krita.extensions().
    extension = Unflatten(Krita.instance())
    Krita.instance().addExtension(extension)
