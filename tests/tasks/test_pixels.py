import torch

from aiplat.tasks.pixels import KnownPixels

PIXELS = torch.arange(12, dtype=torch.uint8).view(3, 2, 2)


def test_a_known_file_is_found_by_what_it_holds_and_cannot_be_changed_from_outside() -> None:
    known, target = KnownPixels(100), torch.zeros_like(PIXELS)
    pixels = PIXELS.clone()
    assert not known.copy(b"file", target)
    known.keep(b"file", pixels)
    pixels += 1
    assert known.copy(b"fi" + b"le", target)
    assert torch.equal(target, PIXELS)
    assert not known.copy(b"other file", target)
    assert not known.copy("not a file", target)


def test_what_is_kept_stays_within_its_bound_and_the_first_stay() -> None:
    known, target = KnownPixels(max_bytes=30), torch.zeros_like(PIXELS)
    for name in (b"1", b"2", b"3"):
        known.keep(name, PIXELS)
    assert [known.copy(name, target) for name in (b"1", b"2", b"3")] == [True, True, False]
    assert known.num_bytes == 24


def test_without_room_nothing_is_kept() -> None:
    known = KnownPixels(max_bytes=0)
    known.keep(b"1", PIXELS)
    assert not known.copy(b"1", torch.zeros_like(PIXELS))
