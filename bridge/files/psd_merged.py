"""The flattened picture inside a Photoshop document."""

import io
import struct

import numpy as np
from PIL import Image
from psd_tools import PSDImage
from psd_tools.constants import Compression, Resource
from psd_tools.psd.header import FileHeader
from psd_tools.psd.image_data import ImageData

from bridge.errors import BadPicture
from bridge.limits import check_picture

HEADER = struct.Struct(">4sH6xHIIHH")  # signature, version, channels, height, width, depth, mode


def merged_image(data: bytes, name: str) -> Image.Image:
    """The merged image of a PSD or PSB, with transparency and profile; what cannot be taken the header tells."""
    _, _, _, height, width, depth, _ = HEADER.unpack_from(data)
    check_picture(width, height)
    if depth not in (1, 8):
        raise BadPicture(
            f"{name} has {depth} bits per channel, and the command line takes 8.",
            "Take it apart in Krita, which keeps its depth, or convert it to 8 bits per channel first.",
        )
    # The size is checked above: psd-tools' own ceiling would refuse pictures that we take.
    psd = PSDImage.open(io.BytesIO(data), max_alloc_bytes="unlimited")  # pyright: ignore[reportUnknownMemberType]
    if not _is_whole(psd._record.image_data, psd._record.header):  # pyright: ignore[reportPrivateUsage]
        raise BadPicture(f"{name} is damaged: its end is missing.", "Get a complete copy of the picture.")
    image = psd.topil(apply_icc=False) if psd.has_preview() else None
    if image is None:
        raise BadPicture(
            f"{name} was saved without its flattened picture.",
            "Open it in Krita and export it as PNG, or save it with “Maximize Compatibility” in Photoshop.",
        )
    profile = psd.image_resources.get_data(Resource.ICC_PROFILE)
    if isinstance(profile, bytes):
        image.info["icc_profile"] = profile
    resolution = psd.image_resources.get_data(Resource.RESOLUTION_INFO)
    if resolution is not None:
        image.info["dpi"] = (resolution.horizontal / 65536, resolution.vertical / 65536)
    return image


def _is_whole(merged: ImageData, header: FileHeader) -> bool:
    """Are all bytes of the merged image there? psd-tools fills what is missing with black and says nothing."""
    rows = header.height * header.channels
    if merged.compression == Compression.RAW:
        return len(merged.data) >= rows * -(-header.width * header.depth // 8)
    if merged.compression == Compression.RLE:
        counts = np.frombuffer(merged.data[: rows * 2 * header.version], ">u2" if header.version == 1 else ">u4")
        return len(counts) == rows and len(merged.data) >= counts.nbytes + int(counts.sum())
    return True  # zlib notices by itself
