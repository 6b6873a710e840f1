"""From a picture's bytes to 8-bit RGB, as a viewer shows it. The pixels decide: other contents refuse no picture."""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, JpegImagePlugin, PngImagePlugin
from PIL.ExifTags import Base

from vqddm.data.archives import content
from vqddm.data.walk import Picture

# What the tag Orientation asks for (EXIF 2.3, section 4.6.4).
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
GREY_LEVELS = {"L;2": 85, "L;4": 17}  # PNG's greys of 2 and 4 bits: steps between them in 8 bits
GREY_BITS = {"1": 1, "L;2": 2, "L;4": 4}


def decode(picture: Picture) -> Image.Image:
    """A picture as an upright 8-bit RGB one; of an animated one the first frame.

    Transparent pixels are laid on white. Of 16 bits the upper 8 count.

    Raises:
        Exception: of nearly every kind, as Pillow's decoders do; `reason` tells it.
    """
    name = picture.key if isinstance(picture.key, str) else picture.place.name
    source = picture.place if picture.key is None else io.BytesIO(content(picture))
    if not isinstance(picture.key, bytes) and name.lower().endswith(".npy"):
        return Image.fromarray(_as_rows(np.load(source, allow_pickle=False)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of metadata, and of sizes that are still allowed
        try:
            return _upright(source)
        except Exception:
            whole = content(picture) if isinstance(source, Path) else source.getvalue()
            pixels = without_metadata(whole)
            if pixels == whole:
                raise
            return _upright(io.BytesIO(pixels))


def reason(picture: Picture, error: Exception) -> str:
    """What is wrong with a picture on which `decode` raised `error`."""
    if isinstance(error, OSError) and error.errno:
        return f"cannot be read ({error.strerror})"
    if isinstance(error, Image.DecompressionBombError):
        return f"too large, more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
    if isinstance(error, Image.UnidentifiedImageError | AssertionError | IndexError):
        return f"not a whole picture ({_true_error(picture)})"
    return f"not a whole picture ({str(error) or type(error).__name__})"


def _true_error(picture: Picture) -> str:
    """Why no decoder takes a file; Pillow keeps its own decoders' answers to itself, or has no words for them."""
    whole = content(picture)
    if whole.startswith(PNG):
        chunks = dict(_png_chunks(whole))
        size, palette = chunks.get(b"IHDR", b"")[8:16], chunks.get(b"IHDR", b"")[17:18] == b"\3"
        if len(size) == 8 and not (any(size[:4]) and any(size[4:])):
            return "its width or height is 0"
        if palette and b"PLTE" not in chunks:
            return "its colours are numbers of a palette, which is missing"
    try:
        if whole.startswith(PNG):
            PngImagePlugin.PngImageFile(io.BytesIO(whole))
        elif whole.startswith(JPEG):
            JpegImagePlugin.JpegImageFile(io.BytesIO(whole))
    except Exception as error:
        cut = isinstance(error.__cause__ or error, IndexError | struct.error) or "not identified" in str(error)
        return "it ends within its header" if cut else str(error) or type(error).__name__
    return f"of no known kind, it begins with {whole[:8]!r}" if whole else "an empty file"


def _as_rows(array: Any) -> np.ndarray:
    """uint8 (H, W, 3) from that, (3, H, W) or (1, 3, H, W)."""
    if not isinstance(array, np.ndarray):
        raise ValueError("an archive of arrays and no .npy file")
    plain = array[0] if array.ndim == 4 and len(array) == 1 else array
    if plain.dtype != np.uint8 or plain.ndim != 3 or 3 not in (plain.shape[0], plain.shape[2]):
        raise ValueError(f"an array of {array.dtype} {array.shape} is no picture")
    return np.ascontiguousarray(plain if plain.shape[2] == 3 else plain.transpose(1, 2, 0))


def _upright(source: Path | io.BytesIO) -> Image.Image:
    with Image.open(source) as image:
        stored = image.tile[0].args if image.tile else None  # how a PNG's pixels lie in the file, such as `L;4`
        image.load()
        if isinstance(stored, str) and "transparency" in image.info:
            image.info["transparency"] = _clear(source, image.info["transparency"], stored)
        if stored == "RGB;16B" and "transparency" in image.info:
            rgb = _deep_on_white(source, image)
        else:
            rgb = to_rgb(image, GREY_LEVELS.get(stored, 1) if isinstance(stored, str) else 1)
        return turned(rgb, image)


def _clear(source: Path | io.BytesIO, told: Any, stored: str) -> Any:
    """The transparent value of a picture, of which only as many bits count as a pixel has."""
    if stored == "1":  # Pillow tells 0 or 255 by all bits
        whole = source.read_bytes() if isinstance(source, Path) else source.getvalue()
        chunk = dict(_png_chunks(whole)).get(b"tRNS", b"") if whole.startswith(PNG) else b""
        return 255 * (chunk[9] & 1) if len(chunk) > 9 else told
    if isinstance(told, int) and stored in ("L", *GREY_BITS):
        return told & ((1 << GREY_BITS.get(stored, 8)) - 1)
    return tuple(value & 255 for value in told) if isinstance(told, tuple) and stored == "RGB" else told


def turned(rgb: Image.Image, image: Image.Image) -> Image.Image:
    """`rgb` as the metadata of `image`, which it was made from, say that it is to be turned."""
    turn = UPRIGHT.get(_orientation(image))
    return rgb if turn is None else rgb.transpose(turn)


def square(rgb: Image.Image, side: int) -> np.ndarray:
    """The central square of a picture, resized with antialiasing: uint8 (side, side, 3)."""
    return np.asarray(ImageOps.fit(rgb, (side, side), Image.Resampling.LANCZOS))


def _orientation(image: Image.Image) -> Any:
    """The tag as it stands in the metadata, 1 if these cannot be read."""
    try:
        found = image.getexif().get(Base.Orientation, 1)
        return found if isinstance(found, int) else 1
    except Exception:  # of nearly every kind, on metadata of other programs
        return 1


def to_rgb(image: Image.Image, level: int = 1) -> Image.Image:
    """Any mode to 8-bit RGB, transparent pixels on white.

    Args:
        level: what one step of a transparent grey's stored value is in 8 bits.
    """
    if image.mode.startswith(("I", "F")):
        return _from_numbers(np.asarray(image), image.mode, image.info.get("transparency"))
    if image.has_transparency_data:
        if level != 1 and isinstance(clear := image.info.get("transparency"), int):
            image.info["transparency"] = clear * level
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _from_numbers(grey: np.ndarray, mode: str, clear: Any) -> Image.Image:
    """Greys of more than 8 bits, (H, W): 16-bit integers, or floats of [0, 255] or [0, 1]; `clear` is transparent."""
    top = 65535 if mode.startswith("I") else 255 if grey.max() > 1 else 1
    if not (grey.min() >= 0 and grey.max() <= top):
        raise ValueError(f"greys from {grey.min()} to {grey.max()} where 0 to {top} were expected")
    # The upper byte, as Pillow has it for colours: exact for 8-bit values however they were stored, v·256 or v·257.
    shown = grey.astype(np.uint32) >> 8 if top == 65535 else np.rint(grey * (255 / top))
    if clear is not None:
        shown = np.where(grey == clear, 255, shown)
    return Image.fromarray(shown.astype(np.uint8)).convert("RGB")


def _deep_on_white(source: Path | io.BytesIO, high: Image.Image) -> Image.Image:
    """RGB of 16 bits with a transparent colour: Pillow keeps the upper bytes, but all 16 bits say which it is."""
    with Image.open(source) as low:
        low.tile = [low.tile[0]._replace(args="RGB;16L")]  # the bytes read in the other order: the lower ones
        values = np.asarray(high).astype(np.uint16) << 8 | np.asarray(low)
    clear = (values == np.array(high.info["transparency"], np.uint16)).all(axis=2, keepdims=True)
    return Image.fromarray(np.where(clear, np.uint8(255), np.asarray(high)))


def without_metadata(whole: bytes) -> bytes:
    """A PNG or JPEG without what is not needed for its pixels and orientation; other files as they are."""
    if whole.startswith(PNG):
        return _plain_png(whole)
    return _plain_jpeg(whole) if whole.startswith(JPEG) else whole


def _png_chunks(whole: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG by their kinds, each with its length, kind and checksum."""
    at = len(PNG)
    while at < len(whole):
        end = at + 12 + int.from_bytes(whole[at : at + 4], "big")  # length, kind, data, checksum
        yield whole[at + 4 : at + 8], whole[at:end]
        at = end


def _plain_png(whole: bytes) -> bytes:
    kept = [PNG]
    for kind, chunk in _png_chunks(whole):
        if kind in (b"IHDR", b"PLTE", b"IDAT", b"IEND") or (
            kind in (b"tRNS", b"eXIf") and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")
        ):
            kept.append(chunk)
    return b"".join(kept)


def _plain_jpeg(whole: bytes) -> bytes:
    kept, at = [JPEG], len(JPEG)
    while whole[at : at + 1] == b"\xff" and whole[at + 1] != 0xDA:  # up to the pixels
        end = at + 2 + int.from_bytes(whole[at + 2 : at + 4], "big")
        segment = whole[at:end]
        # APP0 to APP15 and comments; of these JFIF and Adobe say how colours are stored, Exif the orientation.
        other = 0xE0 <= segment[1] <= 0xEF or segment[1] == 0xFE
        if not other or (segment[4:9] in (b"JFIF\0", b"Adobe") and len(segment) >= 16) or segment[4:10] == b"Exif\0\0":
            kept.append(segment)
        at = end
    return b"".join(kept) + whole[at:]
