"""Writes a stack as a Photoshop document (.psd). Format: Adobe's “Photoshop File Formats Specification”."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from psd_tools.constants import ChannelID, ColorMode, Compression, Resource, Tag
from psd_tools.psd import PSD
from psd_tools.psd.header import FileHeader
from psd_tools.psd.image_data import ImageData
from psd_tools.psd.image_resources import ImageResource, ImageResources, ResoulutionInfo
from psd_tools.psd.layer_and_mask import (
    ChannelData,
    ChannelDataList,
    ChannelImageData,
    ChannelInfo,
    GlobalLayerMaskInfo,
    LayerAndMaskInformation,
    LayerFlags,
    LayerInfo,
    LayerRecord,
    LayerRecords,
)
from psd_tools.psd.tagged_blocks import TaggedBlocks

from bridge.errors import UnflattenError
from bridge.files.colour import U8
from bridge.files.disk import whole_file
from bridge.picture import Layer, Picture, Stack

MAX_SIDE = 30_000
OLD_NAME = 31
"""Bytes of the name that programs from before Unicode names read."""


def write_psd(stack: Stack, picture: Picture, target: Path) -> None:
    """Save `stack` as `target`, with `picture` as the merged image that programs without layers show."""
    if max(stack.width, stack.height) > MAX_SIDE:
        raise UnflattenError(
            f"A PSD holds at most {MAX_SIDE:,} pixels a side, and the picture is {stack.width:,}×{stack.height:,}.",
            "Save the layers as .ora instead.",
            code="cannot_save",
        )
    merged = np.asarray(picture.pixels)
    opaque = bool((merged[..., 3] == 255).all())
    document = PSD(
        header=FileHeader(
            width=stack.width,
            height=stack.height,
            depth=8,
            channels=3 if opaque else 4,
            color_mode=ColorMode.RGB,
        ),
        image_resources=_resources(picture),
        layer_and_mask_information=_layers(stack, opaque),
        image_data=_merged(merged, opaque),
    )
    with whole_file(target) as fresh, fresh.open("wb") as stream:
        document.write(stream)


def _layers(stack: Stack, opaque: bool) -> LayerAndMaskInformation:
    records, channels = zip(*map(_layer, stack.layers), strict=True) if stack.layers else ((), ())
    # A negative count says that the merged image's fourth channel is its transparency, not a stored selection.
    count = len(records) if opaque else -len(records)
    info = LayerInfo(
        layer_count=count,
        layer_records=LayerRecords(list(records)),
        channel_image_data=ChannelImageData(list(channels)),
    )
    return LayerAndMaskInformation(
        layer_info=info, global_layer_mask_info=GlobalLayerMaskInfo(), tagged_blocks=TaggedBlocks()
    )


def _layer(layer: Layer) -> tuple[LayerRecord, ChannelDataList]:
    left, top, width, height = layer.rect
    planes = [ChannelID.TRANSPARENCY_MASK, ChannelID.CHANNEL_0, ChannelID.CHANNEL_1, ChannelID.CHANNEL_2]
    packed = ChannelDataList()
    told: list[ChannelInfo] = []
    for channel, band in zip(planes, (3, 0, 1, 2), strict=True):
        data = ChannelData(Compression.RLE)
        data.set_data(np.ascontiguousarray(layer.pixels[..., band]).tobytes(), width, height, 8)
        packed.append(data)
        told.append(ChannelInfo(channel, len(data.data) + 2))
    names = TaggedBlocks()
    names.set_data(Tag.UNICODE_LAYER_NAME, layer.name)
    record = LayerRecord(
        top=top,
        left=left,
        bottom=top + height,
        right=left + width,
        channel_info=told,
        flags=LayerFlags(visible=layer.visible),
        name=layer.name.encode("macroman", "replace")[:OLD_NAME].decode("macroman"),
        tagged_blocks=names,
    )
    return record, packed


def _merged(pixels: U8, opaque: bool) -> ImageData:
    """The merged image; a transparent one is stored over white, as Photoshop does and readers expect."""
    planes: Iterable[U8]
    if opaque:
        planes = (pixels[..., band] for band in range(3))
    else:
        alpha = pixels[..., 3].astype(np.uint16)
        planes = (*((_over_white(pixels[..., band], alpha)) for band in range(3)), pixels[..., 3])
    data = ImageData(Compression.RLE)
    header = FileHeader(
        width=pixels.shape[1],
        height=pixels.shape[0],
        depth=8,
        channels=3 if opaque else 4,
        color_mode=ColorMode.RGB,
    )
    data.set_data([np.ascontiguousarray(plane).tobytes() for plane in planes], header)
    return data


def _over_white(plane: U8, alpha: "np.ndarray[tuple[int, ...], np.dtype[np.uint16]]") -> U8:
    return ((plane * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _resources(picture: Picture) -> ImageResources:
    resources = ImageResources.new()
    fixed = round(picture.dpi * 65536)
    resolution = ResoulutionInfo(
        horizontal=fixed, horizontal_unit=1, width_unit=1, vertical=fixed, vertical_unit=1, height_unit=1
    )
    resources[Resource.RESOLUTION_INFO] = ImageResource(
        key=Resource.RESOLUTION_INFO,
        data=resolution,  # pyright: ignore[reportArgumentType]  # a structure where there is one, says psd-tools' reader
    )
    if picture.profile:
        resources[Resource.ICC_PROFILE] = ImageResource(key=Resource.ICC_PROFILE, data=picture.profile)
    return resources
