import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from aiplat.config.command import status
from aiplat.jobs.log_lines import Selection, text_of
from aiplat.jobs.logs import main
from aiplat.jobs.schema import LogsConfig
from aiplat.training.logs import LogReader, parsed
from aiplat.training.run_log import RunLog

EVENTS: list[dict[str, Any]] = [
    {"kind": "start", "rank": 0, "step": 0, "world_size": 2, "total_steps": 9, "num_rows": {}},
    {"kind": "log", "rank": 1, "text": "printed by one"},
    {"kind": "log", "rank": 0, "text": "mind: the step", "level": "warning"},
    {"kind": "step", "rank": 0, "epoch": 1, "step": 3, "lr": 0.001, "loss": 0.123456},
    {"kind": "note", "text": "lost the worker of rank 1"},
    {"kind": "failure", "cause": "oom", "rank": 1, "text": "out of memory"},
    {"kind": "log", "rank": 1, "text": "first line\nsecond line"},
    {"kind": "profile", "rank": 0, "forward": 0.25},
]


@pytest.fixture
def storage(tmp_path: Path) -> str:
    """A finished run, told of by two workers, and one that has not begun."""
    with RunLog(str(tmp_path / "runs/shapes")) as log:
        for event in EVENTS:
            log.add({"group": "a", **event})
    (tmp_path / "runs/fresh").mkdir()
    return str(tmp_path)


def shown(storage: str, capsys: pytest.CaptureFixture[str], *overrides: str) -> list[str]:
    """The lines that the job writes, without their times."""
    assert status(main, "logs", LogsConfig, ["run=shapes", f"storage={storage}", *overrides]) == 0
    lines = capsys.readouterr().out.splitlines()
    return [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  ", "", line) for line in lines]


def test_every_event_is_a_line_with_its_sender(
    storage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    begin, *lines, end = shown(storage, capsys)
    assert begin.startswith("driver  begin:")
    assert lines == [
        "rank 0  attempt 1: 2 workers, from the beginning; 9 steps in all, None, rows: ",
        "rank 1  printed by one",
        "rank 0  WARNING mind: the step",
        "rank 0  step 3  epoch 1  loss 0.1235  lr 0.001",
        "driver  note: lost the worker of rank 1",
        "rank 1  failure (oom): out of memory",
        "rank 1  first line",
        "    second line",
        "rank 0  profile:  forward 0.25",
    ]
    assert end == "driver  finished"


@pytest.mark.parametrize(
    ("overrides", "number"),
    [
        (["rank=1"], 3),
        (["level=info"], 9),
        (["level=warning"], 3),
        (["level=error"], 1),
        (["grep=memory"], 1),
        (["grep='loss 0.1|by one'"], 2),
        (["grep='^mind'"], 1),
        (["grep='line$'"], 1),
        (["grep='first.*'"], 1),
        (["grep='.second'"], 0),
        (["rank=0", "grep=step"], 3),
        (["rank=7"], 0),
    ],
)
def test_only_what_is_asked_for_is_shown(
    storage: str, capsys: pytest.CaptureFixture[str], overrides: list[str], number: int
) -> None:
    lines = [line for line in shown(storage, capsys, *overrides) if not line.startswith("    ")]
    assert len(lines) == number


def test_the_quick_look_at_a_line_never_loses_what_is_asked_for(storage: str) -> None:
    for line in LogReader(f"{storage}/runs/shapes").lines():
        (event,) = parsed([line])
        for words in text_of(event).splitlines():
            for begin in range(len(words)):
                pattern = re.escape(words[begin : begin + 9])
                assert list(Selection(grep=pattern).possible([line])) == [line]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["run=shape"], "did you mean 'shapes'? (there are: fresh, shapes)"),
        (["run=fresh"], "run 'fresh' has no log"),
        (["run=shapes", "grep='('"], "no regular expression"),
        (["run=shapes", "level=loud"], "level"),
        ([], "run"),
    ],
)
def test_what_cannot_be_shown_is_said_without_a_traceback(
    storage: str, capsys: pytest.CaptureFixture[str], overrides: list[str], said: str
) -> None:
    assert status(main, "logs", LogsConfig, [f"storage={storage}", *overrides]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def command(storage: str, *overrides: str) -> list[str]:
    job = [sys.executable, "-m", "aiplat.jobs.logs", "run=shapes", f"storage={storage}"]
    return [*job, *overrides]


def started(storage: str, *overrides: str) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen(command(storage, *overrides), stdout=pipe, stderr=pipe)


def test_a_follower_is_ended_by_ctrl_c_with_130_and_without_a_word(storage: str) -> None:
    with RunLog(f"{storage}/runs/shapes") as log:
        log.add({"kind": "note", "text": "it goes on"})
        with started(storage, "follow=true") as process:
            assert process.stdout is not None
            while b"it goes on" not in process.stdout.readline():
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
            try:
                assert process.communicate(timeout=20) == (b"", b"")
            finally:
                process.kill()
        assert process.returncode == 130


def test_a_reader_that_has_seen_enough_is_no_fault(storage: str) -> None:
    with RunLog(f"{storage}/runs/shapes") as log:
        for number in range(20_000):
            log.add({"kind": "log", "rank": 0, "text": f"line {number} {'x' * 50}"})
    with started(storage) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_a_terminal_gets_colours_and_a_pipe_none(storage: str) -> None:
    reading, writing = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    written = bytearray()

    def read() -> None:
        while b"finished" not in written:
            written.extend(os.read(reading, 1 << 16))

    reader = threading.Thread(target=read)
    reader.start()
    subprocess.run(command(storage), stdout=writing, env=environment, check=True)
    reader.join(20)
    os.close(writing)
    os.close(reading)
    assert re.search(rb"\x1b\[[\d;]*mrank 1", written)
    piped = subprocess.run(command(storage), stdout=subprocess.PIPE, check=True)
    assert b"\x1b" not in piped.stdout


def test_the_job_starts_without_what_takes_long_to_import() -> None:
    heavy = ("torch", "ray", "pyarrow", "pandas", "numpy", "mlflow", "rich")
    code = "import json, sys, aiplat.jobs.logs; json.dump(sorted(sys.modules), sys.stdout)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert not set(heavy) & set(json.loads(done.stdout))
