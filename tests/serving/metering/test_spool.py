import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from aiplat.serving.metering import spool as spools
from aiplat.serving.metering.spool import Line, Spool, SpoolError, bring_home

OpenSpool = Callable[..., Spool]

KILLED = """
import os, signal, sys
from pathlib import Path
from aiplat.serving.metering.spool import Spool

spool = Spool(Path(sys.argv[1]))
for number in range(100):
    spool.append({"number": number})
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def open_spool(tmp_path: Path) -> Iterator[Callable[..., Spool]]:
    """Opens spools that are closed at the end."""
    with ExitStack() as stack:
        yield lambda **limits: stack.enter_context(closing(Spool(tmp_path, **limits)))


def numbers(lines: Sequence[Line]) -> list[int]:
    return [line["number"] for line in lines]


def test_lines_are_handed_over_once_and_in_order(open_spool: OpenSpool) -> None:
    spool, taken = open_spool(), list[Line]()
    for number in range(3):
        spool.append({"number": number})
    assert spool.hand_over(taken.extend) == 3
    spool.append({"number": 3})
    assert spool.hand_over(taken.extend) == 1
    assert spool.hand_over(taken.extend) == 0
    assert numbers(taken) == [0, 1, 2, 3]


def test_what_the_database_refuses_is_handed_over_again(open_spool: OpenSpool) -> None:
    spool, taken = open_spool(), list[Line]()
    spool.append({"number": 0})

    def refuse(_: Sequence[Line]) -> None:
        raise ConnectionError("the database is away")

    with pytest.raises(ConnectionError):
        spool.hand_over(refuse)
    spool.append({"number": 1})
    spool.hand_over(taken.extend)
    assert numbers(taken) == [0, 1]


def test_a_killed_process_loses_no_line(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    taken = list[Line]()
    assert bring_home(tmp_path, taken.extend) == 100
    assert numbers(taken) == list(range(100))
    assert not list(tmp_path.iterdir())


def test_lines_of_a_process_that_lives_are_its_own(tmp_path: Path, open_spool: OpenSpool) -> None:
    spool = open_spool()
    spool.append({"number": 0})
    taken = list[Line]()
    assert bring_home(tmp_path, taken.extend) == 0
    spool.close()
    assert bring_home(tmp_path, taken.extend) == 1


def test_lines_stay_where_bringing_them_home_fails(tmp_path: Path, open_spool: OpenSpool) -> None:
    spool = open_spool()
    spool.append({"number": 0})
    spool.close()

    def refuse(_: Sequence[Line]) -> None:
        raise ConnectionError("the database is away")

    with pytest.raises(ConnectionError):
        bring_home(tmp_path, refuse)
    taken = list[Line]()
    assert bring_home(tmp_path, taken.extend) == 1


def test_a_line_that_was_cut_off_does_not_spoil_the_others(tmp_path: Path) -> None:
    (tmp_path / "left.jsonl").write_bytes(b'{"number": 0}\n{"number": 1}\n{"numb')
    taken = list[Line]()
    bring_home(tmp_path, taken.extend)
    assert numbers(taken) == [0, 1]


def test_files_are_let_go_once_they_were_handed_over(
    tmp_path: Path, open_spool: OpenSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spools, "_ROTATE_BYTES", 100)
    spool, taken = open_spool(), list[Line]()
    for number in range(50):
        spool.append({"number": number})
    assert len(list(tmp_path.iterdir())) > 5
    spool.hand_over(taken.extend)
    assert numbers(taken) == list(range(50))
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_spool_refuses_and_takes_lines_again_when_it_was_emptied(
    open_spool: OpenSpool,
) -> None:
    spool = open_spool(max_bytes=len(json.dumps({"number": 0})) + 5)
    spool.append({"number": 0})
    with pytest.raises(SpoolError, match="for the database: see why"):
        spool.append({"number": 1})
    spool.hand_over(lambda _: None)
    spool.append({"number": 1})


def test_half_a_line_is_taken_back(open_spool: OpenSpool, monkeypatch: pytest.MonkeyPatch) -> None:
    spool, taken = open_spool(), list[Line]()
    spool.append({"number": 0})
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, text: write(file, text[:4]))
    with pytest.raises(SpoolError, match="no space is left"):
        spool.append({"number": 1})
    monkeypatch.undo()
    spool.append({"number": 2})
    spool.hand_over(taken.extend)
    assert numbers(taken) == [0, 2]
