"""Unflatten's bridge: a flat picture goes in, an exact stack of named layers comes out."""

__version__ = "0.1.0"
