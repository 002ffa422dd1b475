"""Show what a run told, its workers on all nodes together, while it runs and afterwards."""

import os
import sys
from collections.abc import Iterable
from typing import NoReturn

from aiplat.config import command
from aiplat.config.problems import suggestion
from aiplat.errors import AiplatError
from aiplat.jobs.log_lines import Event, Selection, line_of, painted
from aiplat.jobs.schema import LogsConfig
from aiplat.store import files
from aiplat.training.logs import LogReader, follow_events, in_time_order, parsed


def main(config: LogsConfig) -> None:
    """Write the events that are asked for as lines, in time order."""
    root = files.join(files.absolute(config.storage), "runs")
    run_dir = files.join(root, config.run)
    reader = LogReader(run_dir)
    if reader.is_empty:
        _refuse(root, config)
    asked = Selection(config.rank, config.level, config.grep)
    try:
        if config.follow:
            _write(asked.filtered(follow_events(run_dir)), at_once=True)
        else:
            # Chosen before it is parsed and sorted, for the sake of long logs.
            events = parsed(asked.possible(reader.lines()))
            _write(in_time_order(asked.filtered(events)), at_once=False)
    except KeyboardInterrupt:
        # Who follows a log ends it so; there is nothing to say.
        raise SystemExit(command.EXIT_INTERRUPTED) from None
    except BrokenPipeError:
        # `| head` has seen enough; Python would complain once more while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write(events: Iterable[Event], at_once: bool) -> None:
    is_plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ
    shown = line_of if is_plain else painted
    for event in events:
        sys.stdout.write(f"{shown(event)}\n")
        if at_once:
            sys.stdout.flush()
    sys.stdout.flush()


def _refuse(root: str, config: LogsConfig) -> NoReturn:
    names = files.list_folders(root)
    if config.run in names:
        raise AiplatError(
            f"run {config.run!r} has no log in {files.join(root, config.run)}: it has not begun to "
            "train; start it with python -m aiplat.jobs.train"
        )
    raise AiplatError(f"there is no run {config.run!r} in {root} {suggestion(config.run, names)}")


if __name__ == "__main__":
    command.run(main, "logs", LogsConfig)
