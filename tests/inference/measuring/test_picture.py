from pathlib import Path

import pytest

from aiplat.inference.measuring.picture import draw_measured
from aiplat.inference.measuring.results import Chosen
from tests.inference.measuring.test_results import BROKEN, EAGER, QUICK, WRONG


@pytest.mark.parametrize("is_chosen", [True, False])
def test_the_picture_is_a_png(tmp_path: Path, is_chosen: bool) -> None:
    best = Chosen(QUICK, QUICK.points[1]) if is_chosen else None
    path = tmp_path / "measured.png"
    draw_measured([EAGER, QUICK, WRONG, BROKEN], best, 50.0, "$5 model:1", path)
    assert path.read_bytes().startswith(b"\x89PNG")
