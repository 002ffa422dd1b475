"""Read the fields of a request row: check each value and turn it into what a model takes.

Images are checked by their headers alone; their pixels are decoded once, by the model's replica.
"""

import base64
import binascii
import difflib
import io
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from PIL import Image

from aiplat.serving.config import ServingConfig
from aiplat.serving.problems import MAX_PROBLEMS, FieldProblem
from aiplat.serving.served import Row
from aiplat.tasks.fields import InputField

# Pillow reads many more; some of those start other programs or read other files.
_IMAGE_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
# Length of a name that is answered with what is near it, or repeated; and of what is searched.
_MAX_NAME = 100
_MAX_NAMES = 1000
_MAX_FLOAT32 = 3.4028234663852886e38

_TYPE_NAMES = {
    "NoneType": "null",
    "bool": "a boolean",
    "bytes": "a file",
    "dict": "an object",
    "float": "a number",
    "int": "a number",
    "list": "an array",
    "str": "a string",
}


class FieldError(ValueError):
    """A value is not what its field takes; the message goes on from the field's name."""


@dataclass
class Allowance:
    """What one request may ask for; the pixels are used up by its images."""

    text_chars: int
    pixels: int

    @classmethod
    def of(cls, config: ServingConfig) -> "Allowance":
        """The allowance that a request starts with."""
        return cls(text_chars=config.max_text_chars, pixels=config.max_pixels)


def read_row(
    where: str, raw: Mapping[str, Any], inputs: Sequence[InputField], allowance: Allowance
) -> tuple[Row, list[FieldProblem]]:
    """The row that `raw` describes, and all that is wrong with it; `where` names the row."""
    names = [field.name for field in inputs]
    unknown = islice((name for name in raw if name not in names), MAX_PROBLEMS)
    problems = [
        FieldProblem(
            f"{where}.{shortened(name)}", f"is not a field of this model{nearest(name, names)}"
        )
        for name in unknown
    ]
    row: Row = {}
    for field in inputs:
        try:
            row[field.name] = read_field(field, raw.get(field.name), allowance)
        except FieldError as error:
            problems.append(FieldProblem(f"{where}.{field.name}", str(error)))
    return row, problems


def read_field(field: InputField, value: Any, allowance: Allowance) -> Any:
    """The value as a model takes it, None where it is missing. Raises FieldError."""
    if value is None:
        if field.required:
            raise FieldError("is required")
        return None
    return _READERS[field.kind](field, value, allowance)


def nearest(name: str, names: Iterable[str]) -> str:
    """What to say of a name that does not exist: the nearest one, and which there are."""
    names = list(names)
    # Looking for what is near takes time by the lengths of both, and a request is long at will.
    is_short = len(name) <= _MAX_NAME and len(names) <= _MAX_NAMES
    close = difflib.get_close_matches(name, names, n=1) if is_short else []
    hint = f"; did you mean {close[0]!r}?" if close else ""
    listed = ", ".join(names[:MAX_PROBLEMS]) or "none"
    more = f" and {len(names) - MAX_PROBLEMS} more" if len(names) > MAX_PROBLEMS else ""
    return f"{hint} (it has: {listed}{more})"


def shortened(name: str) -> str:
    """A name that a request gives, short enough to be repeated in an answer."""
    return name if len(name) <= _MAX_NAME else f"{name[:_MAX_NAME]}..."


def got(value: Any) -> str:
    """What a value is, for a message; a short one is shown."""
    kind = _TYPE_NAMES.get(type(value).__name__, type(value).__name__)
    shown = isinstance(value, (str, int, float)) and len(str(value)) <= 40
    return f"got {kind} ({value!r})" if shown else f"got {kind}"


def _read_text(_field: InputField, value: Any, allowance: Allowance) -> str:
    if not isinstance(value, str):
        raise FieldError(f"must be a string, {got(value)}")
    if len(value) > allowance.text_chars:
        raise FieldError(
            f"is {len(value):,} characters long, at most {allowance.text_chars:,} are read "
            "(serve.max_text_chars)"
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise FieldError(f"is not valid Unicode: lone surrogate at {error.start}") from error
    return value


def _read_number(_field: InputField, value: Any, _allowance: Allowance) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise FieldError(f"must be a number, {got(value)}")
    # Compared before it is converted: an integer may be too large for any float.
    if not (-_MAX_FLOAT32 <= value <= _MAX_FLOAT32):
        shown = str(value) if isinstance(value, float) else "an integer of many digits"
        raise FieldError(f"must be a finite number of 32-bit size, got {shown}")
    return float(value)


def _read_category(field: InputField, value: Any, allowance: Allowance) -> str:
    text = _read_text(field, value, allowance)
    if field.choices and text not in field.choices:
        hint = nearest(text, field.choices)
        raise FieldError(f"must be one of the model's categories, {got(text)}{hint}")
    return text


def _read_image(_field: InputField, value: Any, allowance: Allowance) -> bytes:
    data = value if isinstance(value, bytes) else _decode_base64(value)
    if not data:
        raise FieldError("is empty, expected the bytes of an image file")
    pixels = math.prod(_image_size(data))
    if pixels > allowance.pixels:
        raise FieldError(
            f"is too large: {pixels / 1e6:.1f} megapixels, and {allowance.pixels / 1e6:.1f} are "
            "left to this request (serve.max_megapixels)"
        )
    allowance.pixels -= pixels
    return data


def _decode_base64(value: Any) -> bytes:
    if not isinstance(value, str):
        raise FieldError(f"must be a string, the base64 of an image file, {got(value)}")
    if value.startswith(("http://", "https://")):
        raise FieldError(
            "is an address; addresses are not fetched, send the image itself as base64"
        )
    if value.startswith("data:"):
        head, comma, value = value.partition(",")
        if not comma or not head.endswith(";base64"):
            raise FieldError("is a data URL without ';base64,'")
    try:
        # Most tools that print base64 break it into lines.
        return base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise FieldError(f"is not base64: {error}") from error


def _image_size(data: bytes) -> tuple[int, int]:
    """Width and height, from the header."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=_IMAGE_FORMATS) as image:
                return image.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise FieldError("is too large: more pixels than any image here may have") from error
    # Parsers of damaged files raise nearly anything; whatever it is, the file is to blame.
    except Exception as error:
        formats = ", ".join(_IMAGE_FORMATS)
        raise FieldError(f"is not an image that can be read (formats: {formats})") from error


def check_pixels(data: bytes | None) -> None:
    """Decode a whole image, to tell why a model could not. Raises FieldError."""
    if data is None:
        return
    try:
        with Image.open(io.BytesIO(data), formats=_IMAGE_FORMATS) as image:
            image.load()
    except Exception as error:
        raise FieldError(f"is a damaged image: {error}") from error


_READERS: dict[str, Callable[[InputField, Any, Allowance], Any]] = {
    "category": _read_category,
    "image": _read_image,
    "number": _read_number,
    "text": _read_text,
}
