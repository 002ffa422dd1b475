"""Image files to one batch of square uint8 pixels; models standardise them on their device.

Pillow decodes: a 64-pixel PNG in 0.08 ms, a 320-pixel JPEG in 1.5. torchvision's decoder took 0.05
and 0.85 ms, but knows fewer kinds of images and is to be removed from it.
"""

import io
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn.functional import interpolate

from aiplat.datasets.versions import DatasetInfo
from aiplat.errors import DataError
from aiplat.tasks.columns import column_of_kind, misfit
from aiplat.tasks.fields import InputField
from aiplat.tasks.pixels import KnownPixels

# What Pillow and our ingest take for safe; a small file can otherwise unpack to gigabytes.
MAX_PIXELS = 89_478_485

Transform = Callable[[Tensor], Tensor]


class TakesImages(Protocol):
    """A model that says how large its square images are to be."""

    image_size: int


class ImageColumn:
    """A column of images as a model takes them: cropped to the middle square and resized.

    name: null = the dataset's only image column.
    augment: transforms of one decoded image (uint8, 3 x height x width), of which
        `torchvision.transforms.v2` has many; applied before the crop while training.
    cache_bytes: pixels to keep of files decoded before, where there is nothing to augment.
    """

    def __init__(
        self,
        model: TakesImages,
        info: DatasetInfo,
        name: str | None = None,
        augment: Sequence[Transform] = (),
        cache_bytes: int = 0,
    ) -> None:
        self.name = column_of_kind(info, "image", name)
        self.size = model.image_size
        self.augment = tuple(augment)
        self.known = KnownPixels(cache_bytes)

    def field(self, required: bool = True) -> InputField:
        """What a request says of it."""
        return InputField(self.name, "image", required, description="An image file.")

    def encode(self, values: Sequence[Any], augment: bool) -> tuple[Tensor, Tensor]:
        """uint8 pixels (rows, 3, size, size), channels last in memory; and which rows have any.

        Rows without an image are black. Raises DataError naming the column and the row.
        """
        pixels = torch.zeros(len(values), self.size, self.size, 3, dtype=torch.uint8)
        pixels = pixels.permute(0, 3, 1, 2)
        present = torch.tensor([value is not None for value in values])
        transforms = self.augment if augment else ()
        for row, value in enumerate(values):
            if value is None:
                continue
            if transforms:
                pixels[row] = self._augmented(value, row, transforms)
            elif not self.known.copy(value, pixels[row]):
                pixels[row] = self._square(_decoded(value, self.name, row, self.size))
                self.known.keep(value, pixels[row])
        return pixels, present

    def _augmented(self, value: Any, row: int, transforms: Sequence[Transform]) -> Tensor:
        # Augmentation may cut out a part, which should not then be blown up.
        image = _decoded(value, self.name, row, 2 * self.size)
        for transform in transforms:
            image = transform(image)
        return self._square(image)

    def _square(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        # Cropped before resized: a long strip of an image would become a huge one.
        middle = image[:, top : top + side, left : left + side]
        if side == self.size:
            return middle
        size = (self.size, self.size)
        # What torchvision's Resize comes down to, which takes as long to import as torch.
        return interpolate(middle[None], size, mode="bilinear", antialias=True)[0]


def decode(data: bytes, smallest: int) -> Tensor:
    """The file's image, upright and in RGB: uint8 (3, height, width).

    smallest: a JPEG may come in half, a quarter or an eighth of its size, which is far quicker, as
    long as no side falls below this.
    """
    with Image.open(io.BytesIO(data)) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels, of at most {MAX_PIXELS}")
        image.draft("RGB", (smallest, smallest))
        pixels = np.array(_rgb(ImageOps.exif_transpose(image)))
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _rgb(image: Image.Image) -> Image.Image:
    """Any mode as RGB; what is transparent shows white."""
    if image.mode.startswith("I"):
        # 16 bits of grey, which `convert` would clip instead of scale.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _decoded(value: Any, column: str, row: int, smallest: int) -> Tensor:
    if not isinstance(value, bytes):
        raise misfit(column, row, "the bytes of an image file", value)
    try:
        return decode(value, smallest)
    except UnidentifiedImageError as error:
        raise misfit(column, row, "an image file of a known format", value) from error
    except Exception as error:
        # Decoders raise a dozen kinds of exceptions, and warnings, for files that are broken.
        raise DataError(
            f"column {column!r}, row {row}: the image cannot be read ({error}): "
            "leave the row out or replace the file"
        ) from error
