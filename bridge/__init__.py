"""Unflatten's bridge: a flat picture goes in, an exact stack of named layers comes out."""

import os

__version__ = "0.1.0"

# onnxruntime's published builds report each model they load to its maker, and keep a number for the computer in the
# user's home, from the moment they are imported. Nothing that is done with a user's pictures is told to anybody.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
# pydantic looks through every installed package for plugins of its own, a tenth of the time that the bridge takes to
# start; none is wanted here.
os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
