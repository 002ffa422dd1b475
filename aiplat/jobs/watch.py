"""What a person sees of a training run, and what its tracker is told."""

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from aiplat.tracking.tracker import Tracker
from aiplat.training.run_log import RunLog

# Where there is no terminal (a submitted job's log, a file) the progress is a line now and then.
_LINE_EVERY_S = 15.0
_NOT_METRICS = ("at", "kind", "rank", "group", "epoch", "step", "train")


class RunWatch:
    """Shows a run's events on a console, keeps them in its log, hands its metrics to a tracker.

    A terminal gets a live bar; anything else gets lines.
    """

    def __init__(self, console: Console, tracker: Tracker, log: RunLog) -> None:
        self.console = console
        self.tracker = tracker
        self.log = log
        self.start: Mapping[str, Any] = {}
        self.metrics = ""
        self.shown_at = 0.0
        self.bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.steps = self.bar.add_task("", epoch="", state="", visible=False)

    def __enter__(self) -> "RunWatch":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Take note of an event of the run."""
        self.log.add(event)
        show = {
            "start": self._start,
            "step": self._step,
            "epoch": self._epoch,
            "note": self._note,
            "waiting": self._waiting,
            "failure": self._failure,
            "log": self._output,
            "profile": self._profile,
        }
        if event["kind"] in show:
            show[event["kind"]](event)

    def _start(self, event: Mapping[str, Any]) -> None:
        self.start = event
        resumed = f", going on from step {event['step']}" if event["step"] else ""
        rows = ", ".join(f"{split} {count}" for split, count in event["num_rows"].items() if count)
        cut = event.get("accumulate", 1)
        parts = f" in {cut} micro-batches each" if cut > 1 else ""
        self.console.print(
            f"{event['world_size']} workers, {event['precision']}, "
            f"{event['batch_size']} rows a step{parts}; rows: {rows}{resumed}"
        )
        self.bar.update(
            self.steps, total=event["total_steps"], completed=event["step"], visible=True
        )
        self.shown_at = time.monotonic()

    def _step(self, event: Mapping[str, Any]) -> None:
        stall = f"  {event['data_wait_fraction']:.0%} waiting for data"
        state = f"loss {event['loss']:.4f}  {event['rows_per_s']:.0f} rows/s{stall}{self.metrics}"
        epoch = f"{event['epoch']}/{self.start.get('max_epochs', '?')}"
        self.bar.update(self.steps, completed=event["step"], epoch=epoch, state=state)
        if not self.console.is_terminal and time.monotonic() - self.shown_at > _LINE_EVERY_S:
            total = self.start.get("total_steps", "?")
            self.console.print(f"epoch {epoch}  step {event['step']}/{total}  {state}")
            self.shown_at = time.monotonic()
        self._track("train", event)

    def _epoch(self, event: Mapping[str, Any]) -> None:
        metrics = self._track("val", event)
        shown = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        self.metrics = f"  {shown}" if shown else ""
        if trained := event.get("train"):
            self._track("train", {**trained, "epoch": event["epoch"], "step": event["step"]})
        self.console.print(f"epoch {event['epoch']} done  {shown}")

    def _note(self, event: Mapping[str, Any]) -> None:
        self.console.print(f"[yellow]note[/] {escape(event['text'])}")

    def _waiting(self, event: Mapping[str, Any]) -> None:
        self.console.print(f"[dim]waiting[/] {escape(event['text'])}")

    def _failure(self, event: Mapping[str, Any]) -> None:
        self.console.print(f"[red]failure[/] {escape(event['text'])}")
        self.tracker.tag("failure", event["text"])

    def _output(self, event: Mapping[str, Any]) -> None:
        level = event.get("level", "info")
        shown = "" if level == "info" else f"{level} "
        self.console.print(f"[dim]rank {event['rank']}[/] {escape(shown + event['text'])}")

    def _profile(self, event: Mapping[str, Any]) -> None:
        self.console.print(escape(event["text"]))

    def _track(self, split: str, event: Mapping[str, Any]) -> dict[str, float]:
        metrics = {name: value for name, value in event.items() if name not in _NOT_METRICS}
        named = {f"{split}.{name}": value for name, value in metrics.items()}
        self.tracker.log({**named, "epoch": event["epoch"]}, event["step"])
        return metrics
