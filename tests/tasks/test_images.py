"""Image files become pixels: every mode, upright, bounded, and what is broken is named."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from aiplat.datasets.versions import Column, DatasetInfo
from aiplat.errors import DataError
from aiplat.tasks.images import ImageColumn, Transform, decode
from tests.tasks.pictures import RED, WHITE, halves, plain, saved

INFO = DatasetInfo((Column("photo", "image"),))


class Takes:
    """A model of small images."""

    def __init__(self, image_size: int) -> None:
        self.image_size = image_size


def column(size: int = 16, augment: tuple[Transform, ...] = ()) -> ImageColumn:
    return ImageColumn(Takes(size), INFO, augment=augment)


def color(image: Tensor) -> tuple[int, ...]:
    """The mean colour."""
    return tuple(round(value) for value in image.float().mean(dim=(1, 2)).tolist())


def near(found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return max(abs(a - b) for a, b in zip(found, wanted, strict=True)) <= 6


def test_a_png_of_the_right_size_comes_through_untouched() -> None:
    image = Image.effect_noise((16, 16), 80).convert("RGB")
    pixels, present = column().encode([saved(image), None], augment=False)
    assert np.array_equal(pixels[0].permute(1, 2, 0).numpy(), np.asarray(image))
    assert (present.tolist(), int(pixels[1].max())) == ([True, False], 0)
    assert pixels.dtype == torch.uint8
    assert pixels.is_contiguous(memory_format=torch.channels_last)


def test_with_a_cache_pixels_are_the_same_and_augmented_ones_are_not_kept() -> None:
    files = [saved(Image.effect_noise((40, 30), 80).convert("RGB")) for _ in range(3)]
    plain_column = column()
    cached = ImageColumn(Takes(16), INFO, augment=(v2.RandomInvert(p=1.0),), cache_bytes=1 << 20)
    expected, _ = plain_column.encode(files, augment=False)
    assert plain_column.known.num_bytes == 0
    inverted, _ = cached.encode(files, augment=True)
    assert cached.known.num_bytes == 0
    for _ in range(2):
        pixels, _ = cached.encode([*files, files[0]], augment=False)
        assert torch.equal(pixels, torch.cat([expected, expected[:1]]))
    assert cached.known.num_bytes == 3 * 3 * 16 * 16
    assert not torch.equal(inverted, expected)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "CMYK", "1"])
def test_every_mode_and_format_gives_its_colours(kind: str, mode: str) -> None:
    image = plain((200, 200, 200)).convert(mode, dither=Image.Dither.NONE)
    try:
        data = saved(image, kind)
    except (OSError, ValueError):
        return  # This format has no such mode.
    expected = (255, 255, 255) if mode == "1" else (200, 200, 200)
    assert near(color(decode(data, 16)), expected)


def test_what_is_transparent_shows_white() -> None:
    clear = plain()
    clear.putalpha(0)
    half = plain()
    half.putalpha(128)
    assert color(decode(saved(clear), 16)) == WHITE
    assert near(color(decode(saved(half), 16)), (237, 142, 147))
    palette = plain().convert("P", palette=Image.Palette.ADAPTIVE)
    assert color(decode(saved(palette, transparency=palette.getpixel((0, 0))), 16)) == WHITE


def test_sixteen_bits_of_grey_are_scaled_and_not_clipped() -> None:
    grey = Image.fromarray(np.full((16, 16), 128 * 256, dtype=np.uint16))
    assert color(decode(saved(grey), 16)) == (128, 128, 128)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_picture_taken_sideways_is_turned_upright(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # The camera was turned by a quarter: the left side is the top.
    data = saved(halves(RED, WHITE), kind, exif=exif)
    upright = decode(data, 16)
    assert near(color(upright[:, :6]), RED)
    assert near(color(upright[:, 10:]), WHITE)


def test_the_middle_square_is_kept_and_resized_as_torchvision_does() -> None:
    image = Image.effect_noise((40, 24), 80).convert("RGB")
    expected = v2.Compose([v2.CenterCrop(24), v2.Resize((16, 16))])(decode(saved(image), 16))
    pixels, _ = column().encode([saved(image)], augment=False)
    assert torch.equal(pixels[0], expected)


def test_a_long_strip_is_cropped_before_it_could_become_huge() -> None:
    pixels, _ = column(64).encode([saved(plain(size=(1, 60_000)))], augment=False)
    assert color(pixels[0]) == RED


def test_a_large_jpeg_comes_reduced_but_never_below_the_size_wanted() -> None:
    data = saved(halves(RED, WHITE, size=512), "JPEG")
    assert decode(data, 64).shape == (3, 64, 64)
    assert decode(data, 65).shape == (3, 128, 128)
    assert near(color(decode(data, 64)[:, :, :30]), RED)


def test_augmentation_happens_in_training_only() -> None:
    flip = v2.RandomHorizontalFlip(p=1.0)
    data = [saved(halves(RED, WHITE))]
    plain_pixels, _ = column(augment=(flip,)).encode(data, augment=False)
    flipped, _ = column(augment=(flip,)).encode(data, augment=True)
    assert torch.equal(flipped, plain_pixels.flip(-1))
    assert not torch.equal(flipped, plain_pixels)


def huge_png() -> bytes:
    """A few bytes that claim to be 60,000 pixels square."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    )


def broken() -> dict[str, object]:
    noise = Image.effect_noise((64, 64), 80).convert("RGB")
    jpeg, png = saved(noise, "JPEG"), saved(noise)
    return {
        "half a jpeg": jpeg[: len(jpeg) // 2],
        "half a png": png[: len(png) // 2],
        "a bomb": huge_png(),
        "a text": b"this is no image",
        "nothing": b"",
        "a str": "photo.jpg",
        "a number": 3,
        "a large damaged jpeg": saved(plain(size=(512, 512)), "JPEG")[:700],
        "a damaged header": png[:20] + b"\xff" * 20 + png[40:],
    }


@pytest.mark.parametrize("name", broken())
def test_what_is_no_image_is_an_error_naming_column_and_row(name: str) -> None:
    with pytest.raises(DataError, match="column 'photo', row 1: "):
        column().encode([saved(plain()), broken()[name]], augment=False)


def test_a_bomb_is_refused_by_its_size() -> None:
    with pytest.raises(DataError, match="pixels"):
        column().encode([huge_png()], augment=False)
    # The same file, were it small, is the reason and not some other damage.
    assert Image.open(io.BytesIO(saved(plain()))).size == (16, 16)
