"""Contrastive learning: the global batch's loss on any number of ranks, and labels by prompts."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from aiplat.datasets.synthetic import captioned_shapes
from aiplat.datasets.versions import Column, DatasetInfo
from aiplat.errors import DataError
from aiplat.tasks.contrastive import Contrastive
from aiplat.tasks.images import ImageColumn
from aiplat.tasks.labels import LabelColumn
from aiplat.tasks.rows import rows_of
from aiplat.tasks.task import Batch
from aiplat.tasks.texts import TextColumn
from tests.tasks.sets import IMAGE, LABEL, TEXT, TOWERS, learn, task_for

MODEL = {"_target_": "aiplat.models.paired.PairedTowers", "towers": TOWERS}
TASK = {
    "_target_": "aiplat.tasks.contrastive.Contrastive",
    "image": IMAGE,
    "text": TEXT,
    "label": {"_target_": LABEL["_target_"]},
}
INFO = DatasetInfo(
    (Column("image", "image"), Column("text", "text"), Column("label", "label")),
    ("red circle", "blue square"),
)


class Echo(nn.Module):
    """Embeds each side as itself, so that the test chooses the geometry."""

    image_size, vocab_size, max_tokens = 8, 300, 8

    def forward(
        self, image: Tensor | None = None, tokens: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor | None, Tensor]:
        return image, tokens, torch.tensor(10.0)


def echo(assets: Path) -> Contrastive:
    model = Echo()
    text = TextColumn(model, INFO, assets, texts=lambda _: ["a red circle"])
    return Contrastive(model, ImageColumn(model, INFO), text, LabelColumn(INFO))


def batch(image: Tensor, text: Tensor, captions: list[int]) -> Batch:
    return {"image": image, "tokens": text, "mask": text, "caption": torch.tensor(captions)}


def test_matched_pairs_cost_less_than_mismatched_ones(tmp_path: Path) -> None:
    task, side = echo(tmp_path), torch.eye(4)
    matched, _ = task.loss(batch(side, side, [0, 1, 2, 3]))
    mismatched, _ = task.loss(batch(side, side.roll(1, dims=0), [0, 1, 2, 3]))
    assert matched < 0.01
    assert mismatched > 9


def test_rows_of_one_caption_are_matches_of_each_other(tmp_path: Path) -> None:
    task = echo(tmp_path)
    side = torch.tensor([[1.0, 0], [1.0, 0], [0, 1.0]])
    together, _ = task.loss(batch(side, side, [7, 7, 8]))
    apart, _ = task.loss(batch(side, side.flip(0), [7, 7, 8]))
    # The two of caption 7 cannot be told apart, and need not be: only that is left of the loss.
    assert together.item() == pytest.approx(2 / 3 * torch.tensor(2.0).log().item(), abs=1e-3)
    assert apart > together + 1


def test_ranks_of_any_size_have_the_loss_and_gradient_of_the_global_batch(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    image, text = nn.functional.normalize(torch.randn(2, 6, 4, generator=generator), dim=2)
    captions = [0, 1, 2, 1, 3, 4]
    whole_image = image.clone().requires_grad_()
    whole, _ = echo(tmp_path).loss(batch(whole_image, text, captions))
    whole.backward()

    ranks_image = image.clone().requires_grad_()
    everything = {4: ranks_image, 5: text}
    total = torch.zeros(())
    for rows in (slice(0, 4), slice(4, 6)):
        task = echo(tmp_path)
        gathered = iter([everything[4], everything[5], torch.tensor(captions)])
        task.gather = lambda _, gathered=gathered, rows=rows: (next(gathered), rows.start)  # type: ignore[misc]
        loss, _ = task.loss(batch(ranks_image[rows], text[rows], captions[rows]))
        total = total + loss * len(captions[rows]) / len(captions)
    total.backward()
    assert total.item() == pytest.approx(whole.item(), abs=1e-6)
    torch.testing.assert_close(ranks_image.grad, whole_image.grad)


def test_labels_are_told_by_the_nearest_prompt(tmp_path: Path) -> None:
    task = echo(tmp_path)
    task.prompts = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    answers = task.predict({"image": torch.tensor([[1.0, 0.0], [0.0, 1.0]])})
    assert [answer["label"] for answer in answers] == ["blue square", "red circle"]
    assert answers[0]["probabilities"]["blue square"] > 0.99


def test_captions_that_differ_by_case_and_spaces_are_one_and_missing_ones_named(
    tmp_path: Path,
) -> None:
    made = captioned_shapes(3)
    task = task_for(made, MODEL, TASK, tmp_path)
    rows = {**rows_of(made.table), "text": ["A red circle", " a RED circle ", "a blue circle"]}
    first, second, third = task.encode(rows)["caption"].tolist()
    assert first == second != third
    with pytest.raises(DataError, match="column 'text', row 2: the value is missing"):
        task.encode({**rows, "text": ["a", "b", None]})


def test_an_image_is_enough_to_be_labelled(tmp_path: Path) -> None:
    made = captioned_shapes(2)
    task = task_for(made, MODEL, TASK, tmp_path)
    assert [field.name for field in task.inputs] == ["image"]
    assert len(task.predict(task.encode({"image": rows_of(made.table)["image"]}))) == 2


@pytest.mark.parametrize("shuffled", [False, True])
def test_captions_teach_what_images_show_and_shuffled_ones_do_not(
    tmp_path: Path, shuffled: bool
) -> None:
    made = captioned_shapes(200, size=16)
    found = learn(task_for(made, MODEL, TASK, tmp_path), made, 64, 12, shuffled)
    # Nine captions: one in nine by chance.
    assert (found["accuracy"] > 0.3) != shuffled
    assert (found["text_to_image_at_5"] > 0.8) != shuffled
