import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiplat.training import logs
from aiplat.training.logs import LogReader, follow_events, read_events
from aiplat.training.run_log import LogLimits, RunLog

Event = dict[str, Any]


def line(rank: int, at: float, text: str, group: str = "a") -> Event:
    return {"kind": "log", "rank": rank, "group": group, "at": at, "text": text}


def texts(run_dir: Path) -> list[str]:
    return [event["text"] for event in read_events(str(run_dir)) if event["kind"] == "log"]


def told(run_dir: Path) -> list[Event]:
    """What was told between a log's beginning and its end."""
    events = read_events(str(run_dir))
    return [event for event in events if event["kind"] not in ("begin", "end")]


def segments(run_dir: Path) -> list[Path]:
    return sorted((run_dir / "logs").glob("*.jsonl"))


def eventually(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


def test_what_two_ranks_tell_is_read_in_the_order_of_their_clocks(tmp_path: Path) -> None:
    with RunLog(str(tmp_path)) as log:
        log.add(line(0, 10.0, "first"))
        log.add(line(0, 12.0, "third"))
        log.add(line(1, 11.0, "second"))
    assert texts(tmp_path) == ["first", "second", "third"]
    assert [event["rank"] for event in told(tmp_path)] == [0, 1, 0]


def test_an_event_keeps_everything_it_told(tmp_path: Path) -> None:
    step = {"kind": "step", "rank": 0, "at": 5.25, "step": 7, "loss": 0.5, "lr": 1e-3}
    with RunLog(str(tmp_path)) as log:
        log.add(step)
    assert told(tmp_path) == [{**step, "attempt": 0}]


def test_a_note_of_the_driver_gets_a_time_and_no_rank(tmp_path: Path) -> None:
    before = time.time()
    with RunLog(str(tmp_path)) as log:
        log.add({"kind": "note", "text": "lost a worker"})
    (note,) = told(tmp_path)
    assert note["rank"] is None
    assert before - 1 < note["at"] < time.time() + 1


def test_a_group_of_workers_is_an_attempt_and_its_late_lines_remain_its_own(tmp_path: Path) -> None:
    with RunLog(str(tmp_path)) as log:
        log.add(line(0, 1.0, "one", group="a"))
        log.add(line(2, 2.0, "two", group="b"))
        log.add(line(1, 3.0, "late", group="a"))
    with RunLog(str(tmp_path)) as log:
        log.add(line(0, 4.0, "three", group="c"))
    found = [event["attempt"] for event in read_events(str(tmp_path)) if event["kind"] == "log"]
    assert found == [1, 2, 1, 3]
    assert not any("group" in event for event in read_events(str(tmp_path)))


@pytest.mark.parametrize(
    ("error", "status"),
    [(None, "finished"), (KeyboardInterrupt(), "stopped"), (ValueError("no such label"), "failed")],
)
def test_the_last_event_says_how_the_run_ended(
    tmp_path: Path, error: BaseException | None, status: str
) -> None:
    try:
        with RunLog(str(tmp_path)):
            if error:
                raise error
    except BaseException as raised:
        assert raised is error  # noqa: PT017
    *_, last = read_events(str(tmp_path))
    assert (last["kind"], last["status"]) == ("end", status)
    assert ("no such label" in last.get("text", "")) == (status == "failed")


def test_who_follows_a_log_sees_each_line_once_and_is_let_go_when_the_run_ends(
    tmp_path: Path,
) -> None:
    followed: list[Event] = []
    follower = threading.Thread(target=lambda: followed.extend(follow_events(str(tmp_path))))
    with RunLog(str(tmp_path)) as log:
        log.add(line(0, time.time(), "one"))
        follower.start()
        assert eventually(lambda: len(followed) == 2)
        log.add(line(1, time.time(), "two"))
        assert eventually(lambda: len(followed) == 3)
    follower.join(20)
    assert [event.get("text") for event in followed] == [None, "one", "two", None]
    assert followed[-1]["status"] == "finished"


def test_who_follows_a_log_is_told_that_its_writer_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_GONE_S", 0.3)
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    *_, before, last = follow_events(str(tmp_path))
    assert before["text"] == "line 999"
    assert (last["kind"], last["status"]) == ("end", "lost")
    assert "start the run again" in last["text"]


KILLED = """
import os, signal, sys, time
from aiplat.training.run_log import RunLog

with RunLog(sys.argv[1]) as log:
    for number in range(1000):
        log.add({"kind": "log", "rank": 0, "text": f"line {number}"})
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_loses_nothing_and_the_next_one_appends(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert killed.returncode < 0
    assert texts(tmp_path) == [f"line {number}" for number in range(1000)]
    with RunLog(str(tmp_path)) as log:
        log.add({"kind": "log", "rank": 0, "text": "again"})
    assert texts(tmp_path)[-2:] == ["line 999", "again"]


def test_a_line_that_was_cut_off_is_skipped(tmp_path: Path) -> None:
    with RunLog(str(tmp_path)) as log:
        log.add(line(0, 1.0, "whole"))
        log.add(line(0, 2.0, "to be cut"))
    (segment,) = segments(tmp_path)
    segment.write_bytes(segment.read_bytes().partition(b"be cut")[0])
    with RunLog(str(tmp_path)) as log:
        log.add(line(0, 3.0, "next"))
    assert texts(tmp_path) == ["whole", "next"]


def test_a_log_stays_within_its_bounds_and_keeps_its_beginning_and_its_end(tmp_path: Path) -> None:
    limits = LogLimits(segment_bytes=1000, max_segments=4)
    with RunLog(str(tmp_path), limits) as log:
        for number in range(500):
            log.add(line(0, float(number), f"line {number}"))
    found = texts(tmp_path)
    assert len(segments(tmp_path)) == 4
    assert sum(path.stat().st_size for path in segments(tmp_path)) < 5000
    assert (found[0], found[-1]) == ("line 0", "line 499")
    assert len(found) < 100


def test_a_reader_gets_each_line_once_and_later_ones_when_it_asks_again(tmp_path: Path) -> None:
    reader = LogReader(str(tmp_path))
    assert list(reader.lines()) == []
    with RunLog(str(tmp_path), LogLimits(segment_bytes=200, max_segments=9)) as log:
        assert len(list(reader.lines())) == 1
        for number in range(3):
            log.add(line(0, float(number), f"line {number}"))
            assert [json.loads(text)["text"] for text in reader.lines()] == [f"line {number}"]
        assert list(reader.lines()) == []


def test_text_that_is_no_utf8_or_far_too_long_does_not_break_the_log(tmp_path: Path) -> None:
    with RunLog(str(tmp_path)) as log:
        log.add(line(0, 1.0, "odd \udcff bytes\nand a line"))
        log.add(line(0, 2.0, "x" * 1_000_000))
    odd, long = texts(tmp_path)
    assert odd.endswith("bytes\nand a line")
    assert len(long) < 100_000


def test_a_folder_that_cannot_be_written_is_warned_of_once_and_nothing_else_happens(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "logs").write_text("in the way")
    with RunLog(str(tmp_path)) as log:
        log.add(line(0, 1.0, "lost"))
        log.add(line(0, 2.0, "lost, too"))
    (record,) = caplog.records
    assert "cannot be written" in record.getMessage()


def test_an_object_store_gets_the_log_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyarrow import fs

    from aiplat.store import files

    store = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    (tmp_path / "bucket/run/logs").mkdir(parents=True)
    monkeypatch.setattr(files, "opened", lambda uri: (store, uri.removeprefix("s3://")))
    limits = LogLimits(segment_bytes=300, max_segments=5)
    with RunLog("s3://bucket/run", limits) as log:
        log.add(line(0, 0.0, "line 0"))
        assert eventually(lambda: len(list(read_events("s3://bucket/run"))) == 2)
        for number in range(1, 10):
            log.add(line(0, float(number), f"line {number}"))
    found = [event["text"] for event in read_events("s3://bucket/run") if event["kind"] == "log"]
    assert found == [f"line {number}" for number in range(10)]
    assert 1 < len(segments(tmp_path / "bucket/run")) < 6
    assert not (tmp_path / "bucket/run/logs/alive").exists()
