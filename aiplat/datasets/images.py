"""Whether the bytes of an image file decode wholly; it knows nothing of rows."""

import io
import warnings

from PIL import Image, UnidentifiedImageError

from aiplat.datasets.source import Fault

UNREADABLE = "unreadable image"


def image_fault(data: bytes) -> Fault | None:
    """Decode the whole image; None where that works.

    Images of more pixels than Pillow thinks safe (89 million) are refused before decoding.
    """
    if not data:
        return Fault(UNREADABLE, "the file is empty (0 bytes)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                image.load()
    except UnidentifiedImageError:
        return Fault(UNREADABLE, f"{len(data)} bytes that are not an image of a known format")
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        return Fault(UNREADABLE, f"too many pixels: {error}")
    except Exception as error:
        # Decoders raise a dozen kinds of exceptions for broken files.
        return Fault(UNREADABLE, f"truncated or damaged: {error}")
    return None
