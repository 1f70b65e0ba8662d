"""Jobs' parts as plain values that JSON can say, for the store's rows and for the worker's pipe, and back."""

from dataclasses import asdict
from typing import Any

from bridge import protocol
from bridge.errors import UnflattenError
from bridge.jobs.job import (
    Awaited,
    ImageFile,
    LayeredFile,
    LayerImages,
    Outline,
    Output,
    RawLayers,
    RawPicture,
    SavedImage,
    Source,
)
from bridge.limits import check_picture

_SOURCES: dict[str, type[Source]] = {"raw": RawPicture, "file": ImageFile, "awaited": Awaited}
_OUTPUTS: dict[str, type[Output]] = {"layers": RawLayers, "images": LayerImages, "file": LayeredFile}
_FORMATS = {LayerImages: ("png", "webp"), LayeredFile: ("ora", "psd", "png")}


def source_to_plain(source: Source) -> list[Any]:
    return [next(name for name, kind in _SOURCES.items() if isinstance(source, kind)), asdict(source)]


def source_from_plain(told: list[Any]) -> Source:
    return _SOURCES[told[0]](**told[1])


def output_to_plain(output: Output) -> list[Any]:
    return [next(name for name, kind in _OUTPUTS.items() if isinstance(output, kind)), asdict(output)]


def output_from_plain(told: list[Any]) -> Output:
    return _OUTPUTS[told[0]](**told[1])


def outlines_from_plain(told: list[Any]) -> tuple[Outline, ...]:
    """From [name, kind, rect] of each."""
    return tuple(Outline(name, kind, (rect[0], rect[1], rect[2], rect[3])) for name, kind, rect in told)


def images_from_plain(told: list[Any]) -> tuple[SavedImage, ...]:
    """From [nbytes, unsafe] of each."""
    return tuple(SavedImage(nbytes, unsafe) for nbytes, unsafe in told)


# What a row may tell: each raises ValueError, TypeError or UnflattenError for what was never written


def check_source(source: Source) -> None:
    match source:
        case RawPicture():
            whole = (source.width, source.height, source.profile_bytes)
            _check_texts(source.model, source.depth, source.channels)
            _check(all(type(each) is int for each in whole))
            _check(source.model in protocol.MODELS and source.depth in protocol.DEPTHS)
            _check(type(source.view) is bool and 0 <= source.profile_bytes <= protocol.CHUNK)
            if (source.width, source.height) != (0, 0):
                _check(min(source.width, source.height) > 0)
                _check_size(source)
        case ImageFile(path):
            _check_texts(path)
        case Awaited():
            pass


def _check_size(source: RawPicture) -> None:
    """Small ones pass: what is too small to be split is told when it is."""
    check_picture(max(source.width, 16), max(source.height, 16), source.pixel_size)


def check_output(output: Output) -> None:
    match output:
        case LayerImages(format, check):
            _check(format in _FORMATS[LayerImages] and type(check) is bool)
        case LayeredFile(path, format, sheet):
            _check_texts(path, "" if sheet is None else sheet)
            _check(format in _FORMATS[LayeredFile])
        case RawLayers():
            pass


def check_outlines(outlines: tuple[Outline, ...]) -> None:
    for each in outlines:
        _check_texts(each.name, each.kind)
        _check(all(type(number) is int and abs(number) < 2**31 for number in each.rect))
        _check(min(each.rect[2:]) > 0)


def check_images(images: tuple[SavedImage, ...]) -> None:
    for each in images:
        _check(type(each.nbytes) is int and each.nbytes >= 0 and type(each.unsafe) is bool)


def error_from_plain(told: Any) -> UnflattenError:
    """From an error's fields. Raises ValueError, TypeError and KeyError for what none ever had."""
    _check_texts(*(told[name] for name in ("message", "hint", "code", "kind")))
    _check(type(told["retryable"]) is bool)
    return UnflattenError.from_dict(told)


def _check_texts(*texts: object) -> None:
    _check(all(isinstance(each, str) for each in texts))


def _check(true: bool) -> None:
    if not true:
        raise ValueError("never written so")
