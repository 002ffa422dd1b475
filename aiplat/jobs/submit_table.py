"""The jobs of a cluster as a table."""

import time
from collections.abc import Iterable

from rich.table import Table

from aiplat.cluster.submission.client import JobState
from aiplat.cluster.submission.submission import SUPERVISOR

# Jobs by which `submit` asked something for itself.
QUESTION = "question"
_METADATA = ("user", "project", "experiment")


def table_of(states: Iterable[JobState]) -> Table:
    """A line for each; the lives of a supervised job are one line."""
    listed = list(states)
    lives: dict[str, int] = {}
    for state in listed:
        if supervisor := state.metadata.get(SUPERVISOR):
            lives[supervisor] = lives.get(supervisor, 0) + 1
    table = Table()
    for column in ("job", "status", *_METADATA, "started", "took", "lives"):
        table.add_column(column, no_wrap=True)
    for state in listed:
        if not {SUPERVISOR, QUESTION} & state.metadata.keys():
            told = [state.metadata.get(name, "") for name in _METADATA]
            count = str(lives.get(state.id, ""))
            table.add_row(state.id, _status(state), *told, *_times(state), count)
    return table


def _status(state: JobState) -> str:
    code = state.exit_code
    return state.status.lower() + (f" ({code})" if code else "")


def _times(state: JobState) -> tuple[str, str]:
    if state.started is None:
        return "", ""
    seconds = (state.ended or time.time()) - state.started
    minutes, rest = divmod(round(seconds), 60)
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(state.started))
    return began, f"{minutes}:{rest:02}"
