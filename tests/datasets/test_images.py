import io
import struct
import zlib

import pytest
from PIL import Image

from aiplat.datasets.images import image_fault
from tests.datasets.pictures import picture


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_whole_images_have_no_fault(file_format: str) -> None:
    assert image_fault(picture(1, file_format)) is None


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_images_of_any_mode_have_no_fault(mode: str) -> None:
    data = io.BytesIO()
    Image.new(mode, (4, 4)).save(data, format="TIFF")
    assert image_fault(data.getvalue()) is None


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "0 bytes"),
        (b"<html>not found</html>", "not an image"),
        (picture(1, "JPEG")[:400], "truncated"),
        (picture(1)[:200], "truncated"),
    ],
)
def test_broken_images_say_what_is_broken(data: bytes, says: str) -> None:
    fault = image_fault(data)
    assert fault is not None
    assert says in fault.detail


def test_a_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    )
    fault = image_fault(b"\x89PNG\r\n\x1a\n" + chunks)
    assert fault is not None
    assert "too many pixels" in fault.detail
