"""A model of all kinds of fields that answers in this process, and an app over it."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from aiplat.serving.app import create_app
from aiplat.serving.config import ServingConfig
from aiplat.serving.fields import FieldError, check_pixels
from aiplat.serving.served import Answer, Answers, Fault, ModelInfo, Row, RowsError
from aiplat.tasks.fields import InputField, OutputField

INPUTS = (
    InputField("image", "image"),
    InputField("text", "text", example="what colour is it?", description="A question."),
    InputField("age", "number", required=False),
    InputField("home", "category", required=False, choices=("owner", "tenant")),
)
OUTPUTS = (OutputField("label", "label"), OutputField("probabilities", "probabilities"))


def mean_red(rows: list[Row]) -> list[Answer]:
    """Answers how red an image is, and repeats the rest of the row."""
    answers = []
    for position, row in enumerate(rows):
        try:
            check_pixels(row["image"])
        except FieldError as damage:
            raise RowsError({position: Fault("image", str(damage))}) from damage
        with Image.open(io.BytesIO(row["image"])) as image:
            red = image.convert("RGB").resize((1, 1)).getpixel((0, 0))
        assert isinstance(red, tuple)
        share = red[0] / 255
        echo = {name: row[name] for name in ("text", "age", "home")}
        answers.append({"label": "red", "probabilities": {"red": share, "not": 1 - share}, **echo})
    return answers


@dataclass
class LocalModel:
    """A served model whose predictor is a function in this process."""

    info: ModelInfo
    predictor: Callable[[list[Row]], list[Answer]]
    is_ready: bool = True
    asked: list[Row] = field(default_factory=list)

    async def predict(self, rows: Sequence[Row]) -> Answers:
        self.asked.extend(rows)
        return Answers(self.info.version, tuple(self.predictor(list(rows))))

    async def ready(self) -> bool:
        return self.is_ready


@pytest.fixture(scope="session")
def make_model() -> Callable[..., LocalModel]:
    """Makes the model of red images, with another predictor where one is given."""
    info = ModelInfo(
        name="reds",
        version="7",
        inputs=INPUTS,
        outputs=OUTPUTS,
        dataset="colours@1234",
        labels=("red", "not"),
        metrics={"test": {"accuracy": 0.5, "auc": float("nan")}},
    )
    return lambda predictor=mean_red: LocalModel(info, predictor)


@pytest.fixture
def model(make_model: Callable[..., LocalModel]) -> LocalModel:
    return make_model()


@pytest.fixture
def config() -> ServingConfig:
    return ServingConfig(max_rows=4, max_body_mb=0.5, max_megapixels=1, max_text_chars=1000)


@pytest.fixture
def client(model: LocalModel, config: ServingConfig) -> TestClient:
    return TestClient(create_app({"reds": model}, config))


@pytest.fixture(scope="session")
def png() -> Callable[..., bytes]:
    """Makes the file of a picture of one colour."""

    def make(red: int = 255, size: tuple[int, int] = (8, 8), file_format: str = "PNG") -> bytes:
        stream = io.BytesIO()
        Image.new("RGB", size, (red, 0, 0)).save(stream, file_format)
        return stream.getvalue()

    return make
