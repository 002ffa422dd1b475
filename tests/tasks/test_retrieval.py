"""Retrieval over a split: who finds whom, and copies of a caption are one caption."""

import torch
from torch import Tensor

from aiplat.tasks.retrieval import Retrieval


def found(
    image: Tensor, text: Tensor, caption: list[int], rows_a_batch: int = 2
) -> dict[str, float]:
    metric = Retrieval(ks=(1, 2))
    names = torch.tensor(caption)
    for rows in torch.arange(len(caption)).split(rows_a_batch):
        metric.update(image[rows], text[rows], names[rows])
    return {name: round(value.item(), 4) for name, value in metric.compute().items()}


def test_everyone_finds_its_own_and_no_one_a_neighbour() -> None:
    side = torch.eye(4)
    assert set(found(side, side, [10, 11, 12, 13]).values()) == {1.0}
    wrong = found(side, side.roll(1, dims=0), [10, 11, 12, 13])
    assert (wrong["image_to_text_at_1"], wrong["text_to_image_at_1"]) == (0, 0)


def test_the_second_nearest_counts_from_two_on() -> None:
    text = torch.eye(3)
    # The first image is nearer to the second caption than to its own.
    image = torch.tensor([[0.6, 0.8, 0], [0, 1.0, 0], [0, 0, 1.0]])
    assert found(image, text, [0, 1, 2]) == {
        "image_to_text_at_1": 0.6667,
        "image_to_text_at_2": 1.0,
        "text_to_image_at_1": 1.0,
        "text_to_image_at_2": 1.0,
    }


def test_copies_of_a_caption_do_not_crowd_out_the_others() -> None:
    # Three images of caption 7, one of caption 8 that lies nearer to 7 than to its own.
    text = torch.tensor([[1.0, 0], [1.0, 0], [1.0, 0], [0, 1.0]])
    image = torch.tensor([[1.0, 0], [1.0, 0], [1.0, 0], [0.8, 0.6]])
    result = found(image, text, [7, 7, 7, 8])
    assert result["image_to_text_at_1"] == 0.75
    assert result["image_to_text_at_2"] == 1.0
    # Caption 8 finds its image first, for no other leans its way; 7 is found thrice.
    assert result["text_to_image_at_1"] == 1.0


def test_the_order_and_size_of_batches_is_nothing_to_it() -> None:
    generator = torch.Generator().manual_seed(0)
    image, text = torch.randn(2, 30, 8, generator=generator)
    captions = (torch.arange(30) % 11).tolist()
    assert found(image, text, captions, 4) == found(image, text, captions, 30)
