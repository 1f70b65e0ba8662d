"""Qwen-Image-Layered on this computer's own accelerator, through the library diffusers.

The modules `model`, `loading`, `residence`, `denoise`, `frames`, `reader`, `quantised` and `acceleration` import torch
and run in the worker alone, whose environment (`environment.py`) has it; all others run in both environments.
"""
