"""The model card: what a model is, what it learned from, how good it is, where it fails."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiplat.config.tree import flatten
from aiplat.datasets.versions import DatasetInfo
from aiplat.registry.confusion import Confusion
from aiplat.registry.folder import CONFUSION
from aiplat.tasks.fields import InputField, OutputField

_MAX_LABELS = 40
_MAX_PAIRS = 10
_MAX_WEAK = 5
_TRAINING = ("optim", "schedule", "loop", "seed", "dataset.batch_size")


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model when it is exported.

    name: what it will be called. metrics: split -> metric -> value. num_rows: of each split.
    primary: the metric its checkpoint was selected by.
    confusion: of the split `confusion_split`, for classifiers.
    """

    name: str
    run: str
    config: Mapping[str, Any]
    info: DatasetInfo
    dataset: str
    num_rows: Mapping[str, int]
    inputs: tuple[InputField, ...]
    outputs: tuple[OutputField, ...]
    metrics: Mapping[str, Mapping[str, float]]
    primary: str
    confusion: Confusion | None = None
    confusion_split: str = ""


def card(facts: ModelFacts, about: Mapping[str, Any], pictured: bool) -> str:
    """The card as Markdown. about: version.json. pictured: whether there is a confusion picture."""
    split = facts.confusion_split
    sections = [
        f"# {facts.name}\n\n{_summary(facts)}",
        f"## Results\n\n{_results(facts)}",
        f"## Confusions ({split})\n\n{confusions(facts.confusion, split, pictured)}"
        if facts.confusion
        else "",
        f"## Data\n\n{_data(facts)}",
        f"## Inputs and answers\n\n{_fields(facts)}",
        f"## Use and limits\n\n{_limits(facts)}",
        f"## Serve it\n\n{_commands(facts)}",
        f"## Training\n\n{_training(facts)}",
        f"## Made by\n\n{_origin(facts, about)}",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _summary(facts: ModelFacts) -> str:
    model, task = (_target(facts.config, key) for key in ("model", "task"))
    return (
        f"`{model}` trained for the task `{task}` on `{facts.dataset}`. "
        f"Run `{facts.run}`, checkpoint selected by `{facts.primary}`."
    )


def _target(config: Mapping[str, Any], key: str) -> str:
    node = config.get(key)
    return str(node.get("_target_", "unknown")) if isinstance(node, Mapping) else "unknown"


def _results(facts: ModelFacts) -> str:
    splits = list(facts.metrics)
    names = sorted({name for metrics in facts.metrics.values() for name in metrics})
    if not names:
        return "It was not evaluated."
    rows = [
        [f"**{name}**" if name == facts.primary else name]
        + [_number(facts.metrics[split].get(name)) for split in splits]
        for name in names
    ]
    return table(["metric", *splits], rows)


def confusions(confusion: Confusion, split: str, pictured: bool) -> str:
    """What was taken for what. pictured: whether there is a confusion picture beside the text."""
    parts = [f"![Confusion matrix of the split {split}]({CONFUSION})"] if pictured else []
    pairs = confusion.pairs(_MAX_PAIRS)
    if pairs:
        rows = [[_cell(true), _cell(answered), str(count)] for true, answered, count in pairs]
        parts.append(table(["true", "answered", "rows"], rows))
    else:
        parts.append("No row was answered wrongly.")
    return "\n\n".join(parts)


def _data(facts: ModelFacts) -> str:
    rows = [[split, f"{count:,}"] for split, count in facts.num_rows.items()]
    parts = [f"Dataset version `{facts.dataset}`.", table(["split", "rows"], rows)]
    labels = facts.info.labels
    if labels:
        shown = ", ".join(f"`{label}`" for label in labels[:_MAX_LABELS])
        rest = f", and {len(labels) - _MAX_LABELS} more" if len(labels) > _MAX_LABELS else ""
        parts.append(f"{len(labels)} labels: {shown}{rest}.")
    return "\n\n".join(parts)


def _fields(facts: ModelFacts) -> str:
    inputs = [
        [f"`{item.name}`", item.kind, "yes" if item.required else "no", _cell(item.description)]
        for item in facts.inputs
    ]
    outputs = [[f"`{item.name}`", item.kind, _cell(item.description)] for item in facts.outputs]
    return "\n\n".join(
        [
            table(["input", "kind", "required", "what"], inputs),
            table(["answer", "kind", "what"], outputs),
        ]
    )


def _limits(facts: ModelFacts) -> str:
    lines = [
        f"It is meant for rows like those of `{facts.dataset}`: what differs from them in origin, "
        "language, resolution or proportion of classes was not measured.",
    ]
    if facts.info.labels:
        lines.append(
            f"It always answers with one of its {len(facts.info.labels)} labels, "
            "also where none fits."
        )
    optional = [f"`{item.name}`" for item in facts.inputs if not item.required]
    if optional:
        lines.append(f"It also answers without {' or '.join(optional)}, but knows less then.")
    weak = facts.confusion.weakest(_MAX_WEAK) if facts.confusion else []
    if weak:
        named = ", ".join(f"`{label}` ({recall:.1%})" for label, recall in weak)
        lines.append(f"Weakest classes by recall on {facts.confusion_split}: {named}.")
    lines.append(
        "Its probabilities were not calibrated: compare them, do not read them as chances."
    )
    return "\n".join(f"- {line}" for line in lines)


def _commands(facts: ModelFacts) -> str:
    return (
        "```\n"
        f"python -m aiplat.jobs.serve models=[{facts.name}@champion]\n"
        "```\n\n"
        f"`{facts.name}:<version>` serves one version for good, whatever carries the alias."
    )


def _training(facts: ModelFacts) -> str:
    flat = flatten(facts.config)
    rows = [
        [f"`{key}`", _cell(str(value))]
        for key, value in flat.items()
        if value is not None
        and any(key == part or key.startswith(f"{part}.") for part in _TRAINING)
    ]
    return table(["key", "value"], rows) if rows else "See config.yaml."


def _origin(facts: ModelFacts, about: Mapping[str, Any]) -> str:
    environment = about["environment"]
    rows = [["run", facts.run], ["commit", about["commit"]], ["created", about["created"]]]
    rows += [[key, value] for key, value in environment.items()]
    rows.append(["weights", f"sha256:{about['weights_sha256']}"])
    return table(["what", "value"], [[name, f"`{value}`"] for name, value in rows])


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
