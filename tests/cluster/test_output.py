"""What becomes of what a worker prints and logs; no cluster is needed for it."""

import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from aiplat.cluster.output import OutputFiles, forwarded

Event = dict[str, Any]


def test_each_line_and_each_record_is_one_event_and_records_carry_their_level() -> None:
    events: list[Event] = []
    logger = logging.getLogger("somewhere")
    root = logging.getLogger()
    console = logging.StreamHandler()
    root.addHandler(console)
    with forwarded(events.append):
        print("printed")  # noqa: T201
        print("half ", end="")  # noqa: T201
        print("a line", file=sys.stdout)  # noqa: T201
        print("to stderr", file=sys.stderr)  # noqa: T201
        logger.warning("mind\nthe step")
    assert console in root.handlers
    root.removeHandler(console)
    assert events == [
        {"kind": "log", "text": "printed"},
        {"kind": "log", "text": "half a line"},
        {"kind": "log", "text": "to stderr"},
        {"kind": "log", "level": "warning", "text": "somewhere: mind\nthe step"},
    ]


def test_of_a_progress_bar_only_its_last_state_is_told_and_no_text_is_left_behind() -> None:
    events: list[Event] = []
    with forwarded(events.append):
        for percent in (10, 50, 100):
            sys.stderr.write(f"\r{percent} %")
        sys.stderr.write("\n")
        sys.stdout.write("of another world\r\n")
        sys.stdout.write("\n  \nno end")
    assert [event["text"] for event in events] == ["100 %", "of another world", "no end"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "worker.err"
    path.write_text("of an earlier time\n")
    return path


def add(path: Path, text: str) -> None:
    with path.open("a") as stream:
        stream.write(text)


def said(files: OutputFiles, is_complete: bool = False) -> list[str]:
    return [event["text"] for event in files.read(is_complete)]


def test_what_is_added_to_a_file_is_told_once_and_by_whole_lines(file: Path) -> None:
    files = OutputFiles({str(file): file.stat().st_size})
    assert said(files) == []
    add(file, "one\ntwo\nhal")
    assert said(files) == ["one\ntwo"]
    assert said(files) == []
    add(file, "f\n")
    assert said(files) == ["half"]


def test_of_a_worker_that_is_gone_the_last_half_line_is_told_too(file: Path) -> None:
    files = OutputFiles({str(file): file.stat().st_size})
    add(file, ":job_id:01000000\nFatal Python error: Segm")
    assert said(files, is_complete=True) == ["Fatal Python error: Segm"]


def test_of_a_flood_the_beginning_and_the_end_are_told(file: Path) -> None:
    files = OutputFiles({str(file): 0})
    add(file, "".join(f"line {number}\n" for number in range(100_000)))
    (text,) = said(files)
    assert text.startswith("of an earlier time\nline 0\n")
    assert text.endswith("\nline 99999")
    assert "(cut)" in text
    assert len(text) < 100_000
    assert said(files) == []


def test_a_file_that_is_gone_is_no_fault(tmp_path: Path) -> None:
    assert said(OutputFiles({str(tmp_path / "gone.err"): 0})) == []


def test_the_mailbox_reads_the_last_words_of_its_own_node_from_where_they_were_told(
    file: Path,
) -> None:
    from aiplat.cluster.events import RunMailbox

    mailbox = RunMailbox("here")
    origin = {"at": 1.0, "group": "b"}
    old = {**origin, "rank": 5, "group": "a", "kind": "worker", "node": "here", "files": {}}
    near = {**origin, "rank": 0, "kind": "worker", "node": "here", "files": {str(file): 0}}
    far = {**origin, "rank": 1, "kind": "worker", "node": "there", "files": {"far.err": 7}}
    mailbox.put([old])
    mailbox.put([near, far])
    end = file.stat().st_size
    mailbox.put([{**origin, "rank": 0, "kind": "log", "text": "x", "file": str(file), "end": end}])
    add(file, "Fatal Python error")
    assert [worker["rank"] for worker in mailbox.read_last_words()] == [1]
    *before, last = mailbox.take()
    assert len(before) == 4
    assert not any("files" in event or "end" in event for event in [*before, last])
    assert (last["rank"], last["group"], last["text"]) == (0, "b", "Fatal Python error")
    assert mailbox.take() == []
