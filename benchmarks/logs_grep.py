"""A search through the log of a run, beside the plainest program that could do it.

Both are started anew each time and take turns: `aiplat.jobs.logs` puts what it finds in time order
and makes lines of it; the plain one reads JSON line by line and looks for the words.

    python benchmarks/logs_grep.py [lines] [pairs]
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from aiplat.training.run_log import RunLog

WORDS = "needle 777"
PLAIN = """
import json, re, sys
found = re.compile(sys.argv[1]).search
for path in sys.argv[2:]:
    for line in open(path):
        event = json.loads(line)
        if found(event.get("text", "")):
            print(event["at"], event["rank"], event["text"])
"""


def fill(run_dir: str, num_lines: int) -> None:
    """A log of two ranks: every tenth line a step, the others output."""
    begin = time.time() - num_lines
    with RunLog(run_dir) as log:
        for number in range(num_lines):
            event = {"at": begin + number, "rank": number % 2, "group": "a", "epoch": 1}
            if number % 10 == 0:
                numbers = {"loss": 0.5, "accuracy": 0.75, "lr": 1e-3, "rows_per_s": 812.25}
                log.add({**event, "kind": "step", "step": number, **numbers})
            else:
                text = f"needle {number} in a line as long as lines of training code usually are"
                log.add({**event, "kind": "log", "level": "info", "text": text})


def timed(command: list[str]) -> tuple[float, float, bytes]:
    """Seconds by the clock, seconds of the processor, and what the command wrote."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    wall_s = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall_s, cpu_s, output


def main() -> None:
    """Print each program's median times, and their ratio."""
    num_lines, pairs = (*map(int, sys.argv[1:]), *(100_000, 5)[len(sys.argv) - 1 :])
    with tempfile.TemporaryDirectory() as storage:
        run_dir = f"{storage}/runs/bench"
        fill(run_dir, num_lines)
        files = [str(path) for path in sorted(Path(run_dir, "logs").glob("*.jsonl"))]
        job = [sys.executable, "-m", "aiplat.jobs.logs", "run=bench", f"storage={storage}"]
        commands = {
            "aiplat": [*job, f"grep={WORDS}"],
            "json line by line": [sys.executable, "-c", PLAIN, WORDS, *files],
            "grep": ["grep", "-h", WORDS, *files],
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(pairs):
            for name, command in commands.items():
                wall_s, cpu_s, output = timed(command)
                times[name].append((wall_s, cpu_s))
                found = len(output.splitlines())
        print(f"{num_lines} lines, {found} found, {os.cpu_count()} cores, median of {pairs}:")
        median = {
            name: [statistics.median(column) for column in zip(*pairs_of, strict=True)]
            for name, pairs_of in times.items()
        }
        for name, (wall_s, cpu_s) in median.items():
            print(f"  {name}: {wall_s:.3f} s, of them {cpu_s:.3f} s of the processor")
        wall, processor = (
            mine / plain
            for mine, plain in zip(median["aiplat"], median["json line by line"], strict=True)
        )
        print(f"ratio to json line by line: {wall:.2f}, of the processor's time {processor:.2f}")


if __name__ == "__main__":
    main()
