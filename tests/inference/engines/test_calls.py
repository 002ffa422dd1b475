from pathlib import Path

import pytest

from tests.inference.engines.tiny import Tiny


def test_a_classifier_is_called_in_one_way_and_two_towers_in_three(tmp_path: Path) -> None:
    names = {
        kind: [graph.names for graph in Tiny(kind, tmp_path).graphs()]
        for kind in ("table", "fusion", "pair")
    }
    assert names == {
        "table": [("numbers", "missing", "categories")],
        "fusion": [("image", "has_image", "tokens", "mask", "has_text")],
        "pair": [("image",), ("tokens", "mask"), ("image", "tokens", "mask")],
    }


def test_rows_and_the_length_of_texts_vary_and_the_size_of_images_does_not(tmp_path: Path) -> None:
    [graph] = Tiny("fusion", tmp_path).graphs()
    assert graph.sizes == [(-1, 3, 16, 16), (-1,), (-1, -1), (-1, -1), (-1,)]
    assert (graph.outputs, graph.is_tuple) == ((True,), False)


def test_what_is_computed_of_the_labels_alone_does_not_vary(tmp_path: Path) -> None:
    image, prompts, both = Tiny("pair", tmp_path).graphs()
    assert prompts.sizes == [(9, 8), (9, 8)]
    assert image.outputs == (True, False, True)
    assert both.outputs == (True, True, True)


def test_the_task_has_its_own_model_afterwards(tmp_path: Path) -> None:
    tiny = Tiny("text", tmp_path)
    tiny.graphs()
    assert tiny.task.model is tiny.model


@pytest.mark.parametrize("kind", ["fusion", "pair"])
def test_real_rows_are_kept_to_calibrate_with(tmp_path: Path, kind: str) -> None:
    for graph in Tiny(kind, tmp_path).graphs():
        assert len(graph.calibration) in (6, 12)
        assert all(tensor.is_contiguous() for tensors in graph.calibration for tensor in tensors)
