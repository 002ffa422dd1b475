"""Image files of every kind that people have."""

import io
from typing import Any

import numpy as np
from PIL import Image

RED, WHITE = (220, 30, 40), (255, 255, 255)


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The file of an image."""
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)
    return stream.getvalue()


def halves(left: tuple[int, int, int], right: tuple[int, int, int], size: int = 16) -> Image.Image:
    """An image of two colours, side by side."""
    pixels = np.empty((size, size, 3), dtype=np.uint8)
    pixels[:, : size // 2], pixels[:, size // 2 :] = left, right
    return Image.fromarray(pixels)


def plain(color: tuple[int, int, int] = RED, size: tuple[int, int] = (16, 16)) -> Image.Image:
    """An image of one colour."""
    return Image.new("RGB", size, color)
