"""That what is measured was really done; how fast is this machine's affair."""

import re
from pathlib import Path

from aiplat.doctor import exchange, measures


def number(text: str) -> float:
    found = re.match(r"[\d.]+", text)
    assert found is not None
    return float(found[0])


def test_the_disk_is_written_and_left_as_it_was(tmp_path: Path) -> None:
    (finding,) = measures.measure_disk(str(tmp_path))
    assert number(finding.value) > 0
    assert list(tmp_path.iterdir()) == []


def test_pictures_are_decoded_at_their_size() -> None:
    (finding,) = measures.measure_decoding()
    assert number(finding.value) > 1
    assert "(320 x 320)" in finding.value


def test_requests_come_back_as_they_were_sent() -> None:
    (finding,) = measures.measure_echo()
    half, most = (number(part.strip()) for part in finding.value.split(","))
    assert 0 < half <= most


def test_two_processes_add_up_what_they_have() -> None:
    (finding,) = exchange.measure_all_reduce()
    assert number(finding.value) > 0
    assert "2 processes (gloo)" in finding.value
