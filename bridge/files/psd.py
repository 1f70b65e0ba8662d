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
from bridge.files.colour import profile_to_write
from bridge.files.disk import whole_file
from bridge.picture import Layer, Picture, Pixels, Stack

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
    opaque = picture.is_opaque
    document = PSD(
        header=_header(merged, opaque),
        image_resources=_resources(picture),
        layer_and_mask_information=_layers(stack, opaque, merged.dtype == np.uint16),
        image_data=_merged(merged, opaque),
    )
    with whole_file(target) as fresh, fresh.open("wb") as stream:
        document.write(stream)


def _header(merged: Pixels, opaque: bool) -> FileHeader:
    return FileHeader(
        width=merged.shape[1],
        height=merged.shape[0],
        depth=8 * merged.itemsize,  # pyright: ignore[reportArgumentType]  # 8 or 16
        channels=3 if opaque else 4,
        color_mode=ColorMode.RGB,
    )


def _layers(stack: Stack, opaque: bool, deep: bool) -> LayerAndMaskInformation:
    records, channels = zip(*map(_layer, stack.layers), strict=True) if stack.layers else ((), ())
    # A negative count says that the merged image's fourth channel is its transparency, not a stored selection.
    count = len(records) if opaque else -len(records)
    blocks = TaggedBlocks()
    if deep:  # layers of 16 bits lie in a block of their own, and their usual place is empty
        if not opaque:
            blocks.set_data(Tag.SAVING_MERGED_TRANSPARENCY16)
        blocks.set_data(Tag.LAYER_16, count, LayerRecords(list(records)), ChannelImageData(list(channels)))
        info = LayerInfo()
    else:
        info = LayerInfo(count, LayerRecords(list(records)), ChannelImageData(list(channels)))
    return LayerAndMaskInformation(layer_info=info, global_layer_mask_info=GlobalLayerMaskInfo(), tagged_blocks=blocks)


def _layer(layer: Layer) -> tuple[LayerRecord, ChannelDataList]:
    left, top, width, height = layer.rect
    planes = [ChannelID.TRANSPARENCY_MASK, ChannelID.CHANNEL_0, ChannelID.CHANNEL_1, ChannelID.CHANNEL_2]
    packed = ChannelDataList()
    told: list[ChannelInfo] = []
    for channel, band in zip(planes, (3, 0, 1, 2), strict=True):
        # at 16 bits too, though it saves little there: Krita 5 misreads what is packed with prediction
        data = ChannelData(Compression.RLE)
        data.set_data(_bytes(layer.pixels[..., band]), width, height, 8 * layer.pixels.itemsize)
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


def _bytes(plane: Pixels) -> bytes:
    """A channel as it lies in the file, the high byte of each number first."""
    return plane.astype(plane.dtype.newbyteorder(">")).tobytes()


def _merged(pixels: Pixels, opaque: bool) -> ImageData:
    """The merged image; a transparent one is stored over white, as Photoshop does and readers expect."""
    planes: Iterable[Pixels]
    if opaque:
        planes = (pixels[..., band] for band in range(3))
    else:
        alpha = pixels[..., 3].astype(np.uint32)
        planes = (*((_over_white(pixels[..., band], alpha)) for band in range(3)), pixels[..., 3])
    data = ImageData(Compression.RLE)
    data.set_data([_bytes(plane) for plane in planes], _header(pixels, opaque))
    return data


def _over_white(plane: Pixels, alpha: Pixels) -> Pixels:
    full = int(np.iinfo(plane.dtype).max)
    return ((plane.astype(np.uint64) * alpha + full * (full - alpha) + full // 2) // full).astype(plane.dtype)


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
    profile = profile_to_write(picture)
    if profile:
        resources[Resource.ICC_PROFILE] = ImageResource(key=Resource.ICC_PROFILE, data=profile)
    return resources
