"""How the events of a run's log read as lines, and which of them a person asked for.

It knows nothing of where they come from. Nothing heavy is imported: a search through a log must
not wait for it.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

Event = dict[str, Any]

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_LEVEL_OF_KIND = {"step": "debug", "note": "warning", "failure": "error"}
# What a pattern needs to know of the text's borders cannot be looked for in a longer text.
_BORDERS = re.compile(r"[\^$]|\\[bBAZ]|\(\?")
_ENVELOPE = ("at", "kind", "rank", "attempt", "level", "epoch", "step")
_RANKS = ("cyan", "green", "magenta", "blue", "yellow", "bright_cyan", "bright_green")
_LEVEL_STYLES = {"debug": "dim", "warning": "yellow", "error": "bold red", "critical": "bold red"}


@dataclass(frozen=True)
class Selection:
    """Which events to show.

    rank: of this worker only. level: the least severe. grep: found in the event's text.
    """

    rank: int | None = None
    level: str = "debug"
    grep: str | None = None

    def possible(self, lines: Iterable[bytes]) -> Iterable[bytes]:
        """The lines of a log that may hold what is asked for, as far as a quick look tells."""
        if not self.grep or _BORDERS.search(self.grep):
            return lines
        found = re.compile(self.grep).search
        return (line for line in lines if not _is_output(line) or found(line.decode()))

    def filtered(self, events: Iterable[Event]) -> Iterator[Event]:
        """The events that are asked for, in their order."""
        rank, least = self.rank, LEVELS[self.level]
        found = re.compile(self.grep).search if self.grep else None
        for event in events:
            if rank is not None and event["rank"] != rank:
                continue
            if least > LEVELS["debug"] and LEVELS.get(level_of(event), 20) < least:
                continue
            if found is None or found(text_of(event)):
                yield event


def _is_output(line: bytes) -> bool:
    """Whether a line holds what its event says as it stands: output, nothing of it escaped."""
    return b'"kind":"log"' in line and b"\\" not in line


def level_of(event: Event) -> str:
    """How severe an event is; what a program merely printed is `info`."""
    if event["kind"] == "end" and event.get("status") in ("failed", "lost"):
        return "error"
    level = event.get("level") or _LEVEL_OF_KIND.get(event["kind"], "info")
    return str(level)


def text_of(event: Event) -> str:
    """What an event says, without who said it and when."""
    return _TEXTS.get(event["kind"], _any)(event)


def line_of(event: Event) -> str:
    """An event as a line; further lines of its text are indented."""
    return "  ".join(_parts(event))


def painted(event: Event) -> str:
    """An event as a line for a terminal: each rank has its colour, and each level."""
    from rich.style import Style

    rank = event.get("rank")
    colour = "white" if rank is None else _RANKS[rank % len(_RANKS)]
    styles = ("dim", colour, _LEVEL_STYLES.get(level_of(event), ""))
    parts = zip(_parts(event), styles, strict=True)
    return "  ".join(Style.parse(style).render(part) for part, style in parts)


def _parts(event: Event) -> tuple[str, str, str]:
    """When an event was sent, in this machine's time zone; by whom; and what it says."""
    at = event["at"]
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    rank, level = event.get("rank"), event.get("level", "info")
    text = text_of(event).replace("\n", "\n    ")
    return (
        f"{clock}.{int(at * 1000) % 1000:03}",
        f"{'driver' if rank is None else f'rank {rank}':<6}",
        text if level == "info" else f"{level.upper()} {text}",
    )


def _output(event: Event) -> str:
    return str(event.get("text", ""))


def _start(event: Event) -> str:
    begun = f"going on from step {event['step']}" if event.get("step") else "from the beginning"
    rows = ", ".join(f"{split} {count}" for split, count in event.get("num_rows", {}).items())
    return (
        f"attempt {event.get('attempt')}: {event.get('world_size')} workers, {begun}; "
        f"{event.get('total_steps')} steps in all, {event.get('precision')}, rows: {rows}"
    )


def _step(event: Event) -> str:
    return f"step {event.get('step')}  epoch {event.get('epoch')}  {_numbers(event)}"


def _epoch(event: Event) -> str:
    return f"epoch {event.get('epoch')} done at step {event.get('step')}  {_numbers(event)}"


def _note(event: Event) -> str:
    return f"note: {event.get('text')}"


def _failure(event: Event) -> str:
    return f"failure ({event.get('cause')}): {event.get('text')}"


def _end(event: Event) -> str:
    text = event.get("text")
    return f"{event.get('status')}: {text}" if text else str(event.get("status"))


def _any(event: Event) -> str:
    said = [str(event["text"])] if "text" in event else []
    rest = {name: value for name, value in event.items() if name not in ("text", "step", "epoch")}
    return "  ".join([f"{event['kind']}:", *said, _numbers(rest)]).rstrip()


_TEXTS: dict[str, Callable[[Event], str]] = {
    "log": _output,
    "start": _start,
    "step": _step,
    "epoch": _epoch,
    "note": _note,
    "failure": _failure,
    "end": _end,
}


def _numbers(event: Event) -> str:
    """What else an event carries, the loss first."""
    names = [name for name in event if name not in _ENVELOPE]
    return "  ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in ((name, event[name]) for name in sorted(names, key=_is_not_loss))
    )


def _is_not_loss(name: str) -> bool:
    return name != "loss"
