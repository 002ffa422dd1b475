"""The configuration of each job: what `conf/<job>.yaml` and the command line may say.

The only place that sees every section. Importing it imports no torch, no Ray and no MLflow.
"""

import re
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal

from aiplat.cluster.scale import ClusterConfig, ScaleConfig
from aiplat.config.targets import node
from aiplat.config.words import word
from aiplat.datasets.config import IngestTarget, SplitConfig
from aiplat.errors import ConfigError
from aiplat.inference.config import ENGINES, PRECISIONS, InferenceConfig, ParityConfig, SloConfig
from aiplat.registry.config import RegisterConfig
from aiplat.serving.config import ServingConfig
from aiplat.training.config import CheckpointConfig, DatasetConfig, LoopConfig
from aiplat.tuning.config import TuningConfig


@dataclass(kw_only=True)
class IngestConfig:
    """Make a dataset version out of files.

    storage: folder or URI that everything aiplat makes lands under.
    source: where the rows come from (group `source`).
    on_error: `fail` refuses the whole set if a row is bad, `skip` leaves the bad rows out.
    shard_bytes: size of a Parquet file of the version, about.
    """

    storage: str = "storage"
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    source: dict[str, Any] = node()
    dataset: IngestTarget = field(default_factory=IngestTarget)
    split: SplitConfig = field(default_factory=SplitConfig)
    on_error: Literal["fail", "skip"] = "fail"
    shard_bytes: int = 128 << 20


@dataclass(kw_only=True)
class TrainConfig:
    """Train a model for a task on a dataset version.

    name: the run; starting a run of the same name again continues it.
    storage: folder or URI that everything aiplat makes lands under.
    seed: of the weights, the order of the rows and the augmentation.
    model: what is trained (group `model`).
    task: what it is trained for (group `task`).
    optim: the optimizer (group `optim`); null: what the model's configure_optimizers makes.
    schedule: how the learning rate moves (group `schedule`); null: it stays, or what the model's
        configure_optimizers makes.
    tracking: where the run is recorded (group `tracking`).
    """

    name: str
    storage: str = "storage"
    seed: int = 0
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    scale: ScaleConfig = field(default_factory=ScaleConfig)
    dataset: DatasetConfig
    model: dict[str, Any] = node(
        "num_classes", "num_numbers", "category_sizes", "assets", "load_weights"
    )
    task: dict[str, Any] = node("model", "info", "assets", "texts", "cache_bytes")
    optim: dict[str, Any] | None = node("model", "params", optional=True)
    schedule: dict[str, Any] | None = node("optimizer", "total_steps", optional=True)
    loop: LoopConfig = field(default_factory=LoopConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    tracking: dict[str, Any] = node("storage")
    register: RegisterConfig = field(default_factory=RegisterConfig)
    tuning: TuningConfig = field(default_factory=TuningConfig)


@dataclass(kw_only=True)
class DrillConfig(TrainConfig):
    """Kill parts of a training run on a cluster of this machine, and count what that costs.

    name: of the drill; its runs are called after it. The report is in drills/<name> under storage.
    kills: how often, spread over the run at random steps that the seed decides.
    kinds: what is killed, each equally often: `worker`, `node`, `driver`; `preemption` is a node
        that is given notice: ten seconds, or until the run has saved.
    corrupt: at how many of the kills the latest checkpoint is damaged as well.
    nodes: CPUs of each node of the cluster; they need not exist.
    replacements: CPUs of the nodes that take the place of killed ones, in turn.
    undisturbed: runs without kills to compare the loss with, each of another seed.
    tolerance: part of the final loss that counts as noise even where the seeds differ less.
    max_recovery_s: what a recovery may take at the 95th percentile.
    """

    kills: int = 20
    kinds: list[Literal["worker", "node", "preemption", "driver"]] = field(
        default_factory=lambda: ["worker", "node", "preemption", "driver"]
    )
    corrupt: int = 0
    nodes: list[int] = field(default_factory=lambda: [2, 2])
    replacements: list[int] = field(default_factory=lambda: [1, 2])
    undisturbed: int = 2
    tolerance: float = 0.05
    max_recovery_s: float = 120.0

    def __post_init__(self) -> None:
        if self.kills < 1:
            raise ConfigError(f"kills is {self.kills}, expected at least 1")
        if not 0 <= self.corrupt <= self.kills:
            raise ConfigError(f"corrupt is {self.corrupt}, expected 0 to kills={self.kills}")
        for name in ("kinds", "nodes", "replacements"):
            if not getattr(self, name):
                raise ConfigError(f"{name} is empty, expected at least one")
        if self.undisturbed < 1:
            raise ConfigError(f"undisturbed is {self.undisturbed}, expected at least 1")
        if self.loop.max_steps is not None:
            raise ConfigError("a drill counts whole epochs: set loop.max_epochs, not max_steps")


@dataclass
class EvaluationData:
    """The split to measure on.

    name: null: the dataset the model was trained on.
    version: null: the version it was trained on, or the latest of another dataset.
    """

    name: str | None = None
    version: str | None = None
    split: str = "test"


@dataclass(kw_only=True)
class EvaluateConfig:
    """Measure a model version on a split of a dataset version.

    model: `name@alias`, `name:version`, or `name` for its champion.
    storage: folder or URI that everything aiplat makes lands under.
    num_workers: processes that share the rows; `auto`: what the cluster has.
    tracking: where the metrics are recorded (group `tracking`).
    """

    model: str
    storage: str = "storage"
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    dataset: EvaluationData = field(default_factory=EvaluationData)
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    num_workers: int | Literal["auto"] = "auto"
    tracking: dict[str, Any] = node("storage")


@dataclass
class PredictInput:
    """The rows to answer: of a dataset version, or of files.

    dataset: `name@version` or `name`, the latest.
    split: of that dataset version.
    path: a folder of images, or a .jsonl, .csv or .parquet file with the model's inputs.
    """

    dataset: str | None = None
    split: str = "test"
    path: str | None = None


@dataclass(kw_only=True)
class PredictConfig:
    """Answer many rows with a model version; the answers become Parquet files.

    model: `name@alias`, `name:version`, or `name` for its champion.
    output: folder or URI of the answers; null: a new one under storage.
    storage: folder or URI that everything aiplat makes lands under.
    num_workers: processes that share the rows; `auto`: what the cluster has.
    tracking: where the model registry is (group `tracking`).
    """

    model: str
    input: PredictInput = field(default_factory=PredictInput)
    output: str | None = None
    storage: str = "storage"
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    num_workers: int | Literal["auto"] = "auto"
    tracking: dict[str, Any] = node("storage")

    def __post_init__(self) -> None:
        if (self.input.dataset is None) == (self.input.path is None):
            raise ConfigError("set one of input.dataset (a dataset version) and input.path (files)")


@dataclass(kw_only=True)
class OptimizeConfig:
    """Choose the engine that answers with a model version, by measuring them on this machine.

    model: `name@alias`, `name:version`, or `name` for its champion.
    engines: those to measure, beside torch as it is (`eager`) in fp32.
    precisions: those to measure each engine in.
    batch_sizes: rows of a pass through the model.
    threads: of the arithmetic, as many as a replica will have (`serve.replica.num_cpus`).
    device: `auto` is the GPU where there is one; else `cpu`, `cuda` or `cuda:1`.
    rounds: how often each engine takes its turn.
    round_s: how long a turn takes at least, for each batch size.
    timeout_s: how long an engine may take for anything it is asked; then it is given up.
    calibration_rows: of the training split, which int8 takes its ranges from.
    slo: what the endpoint promises; the choice is the highest throughput that keeps it.
    parity: how far answers may be from those of torch in fp32.
    storage: folder or URI that everything aiplat makes lands under.
    tracking: where the model registry is (group `tracking`).
    """

    model: str
    engines: list[str] = field(default_factory=lambda: [name for name in ENGINES if name != "auto"])
    precisions: list[str] = field(default_factory=lambda: ["fp32", "bf16", "int8"])
    batch_sizes: list[int] = field(default_factory=lambda: [1, 4, 16])
    threads: int = 1
    device: str = "auto"
    rounds: int = 5
    round_s: float = 0.5
    timeout_s: float = 600.0
    calibration_rows: int = 128
    slo: SloConfig = field(default_factory=SloConfig)
    parity: ParityConfig = field(default_factory=ParityConfig)
    storage: str = "storage"
    tracking: dict[str, Any] = node("storage")

    def __post_init__(self) -> None:
        known = {"engines": ENGINES[1:], "precisions": PRECISIONS[1:]}
        for name, choices in known.items():
            given = getattr(self, name)
            if not given or not set(given) <= set(choices):
                raise ConfigError(f"{name} is {given}, expected some of {', '.join(choices)}")
        if not self.batch_sizes or min(self.batch_sizes) < 1:
            raise ConfigError(f"batch_sizes is {self.batch_sizes}, expected numbers from 1 on")
        for name in ("threads", "rounds", "calibration_rows"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected at least 1")
        for name in ("round_s", "timeout_s"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected more than 0")


@dataclass(kw_only=True)
class RegisterJobConfig:
    """Make a finished run a model version, or move an alias to a version there is.

    run: the name of the run to register.
    name: the model it becomes a version of; null: one called as the run.
    model: in place of a run, the version that gets the alias: `name:version` or `name@alias`.
    alias: moves to the version, whatever carried it before; null: none moves.
    storage: folder or URI that everything aiplat makes lands under.
    tracking: where the model registry is (group `tracking`).
    """

    run: str | None = None
    name: str | None = None
    model: str | None = None
    alias: str | None = "champion"
    storage: str = "storage"
    tracking: dict[str, Any] = node("storage")

    def __post_init__(self) -> None:
        if (self.run is None) == (self.model is None):
            raise ConfigError("set one of run (to register it) and model (to move alias to it)")
        if self.model is not None and (self.alias is None or self.name is not None):
            raise ConfigError("with model, set alias and no name: only the alias moves")


@dataclass(kw_only=True)
class LogsConfig:
    """Show what a run told: its steps, notes, failures and what its workers printed and logged.

    run: the name of the run.
    follow: show also what comes, until the run ends.
    rank: show only this worker; null: all of them and the driver.
    level: the least severe to show. A record of Python's `logging` has its own level; what is
        printed counts as info, a step as debug, a note as warning, a failure as error.
    grep: show only lines in which this regular expression is found.
    storage: folder or URI that everything aiplat makes lands under.
    """

    run: str
    follow: bool = False
    rank: int | None = None
    level: Literal["debug", "info", "warning", "error"] = "debug"
    grep: str | None = None
    storage: str = "storage"

    def __post_init__(self) -> None:
        try:
            re.compile(self.grep or "")
        except re.error as error:
            raise ConfigError(
                f"grep is {self.grep!r}, which is no regular expression: {error}"
            ) from error


@dataclass(kw_only=True)
class ServeConfig:
    """Answer requests with model versions over HTTP.

    models: what to serve, each `name@alias` or `name:version`.
    storage: folder or URI that everything aiplat makes lands under.
    records: database of keys and usage; null: <storage>/records.db.
    tracking: where the model registry is (group `tracking`).
    """

    models: list[str] = field(default_factory=list)
    storage: str = "storage"
    records: str | None = None
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    serve: ServingConfig = field(default_factory=ServingConfig)
    tracking: dict[str, Any] = node("storage")


@dataclass(kw_only=True)
class KeysConfig:
    """Make, list, revoke and rotate the API keys of endpoints.

    action: what to do; may be the first word.
    owner: whose key it is; of `list`: show only theirs.
    scopes: names of the models it may ask; *: all.
    rate: requests a second; null: any number.
    burst: requests at once after a pause; null: as many as in a second.
    quota: requests in a calendar month (UTC); null: any number.
    expires: how long it is good for, as 90d or 12h, or until when, as 2031-12-31; null: for ever.
    cidrs: networks it may be used from, as 10.0.0.0/8 or 2001:db8::/32; empty: from everywhere.
    key: the prefix of the key to revoke or rotate, as `list` shows it.
    grace: how long a rotated key works on beside the new one; 0s: not at all.
    quiet: print the new key and nothing else.
    storage: folder or URI that everything aiplat makes lands under.
    records: database of keys and usage; null: <storage>/records.db.
    """

    action: Literal["create", "list", "revoke", "rotate"] = word("list")
    owner: str | None = None
    scopes: list[str] = field(default_factory=lambda: ["*"])
    rate: float | None = None
    burst: int | None = None
    quota: int | None = None
    expires: str | None = None
    cidrs: list[str] = field(default_factory=list)
    key: str | None = None
    grace: str = "1h"
    quiet: bool = False
    storage: str = "storage"
    records: str | None = None

    def __post_init__(self) -> None:
        if self.action in ("revoke", "rotate") and self.key is None:
            raise ConfigError(f"{self.action} needs key=<prefix>; 'keys list' shows them")
        if self.action == "create" and self.owner is None:
            raise ConfigError("create needs owner=<name>: whose key it is")
        elsewhere = set().union(*_KEYS_OF_ACTION.values()) - _KEYS_OF_ACTION[self.action]
        for item in fields(self):
            default = item.default if item.default_factory is MISSING else item.default_factory()
            if item.name in elsewhere and getattr(self, item.name) != default:
                raise ConfigError(
                    f"{item.name} is nothing that '{self.action}' takes: leave it out, or begin "
                    f"with another word"
                )


_KEYS_OF_ACTION: dict[str, set[str]] = {
    "create": {"owner", "scopes", "rate", "burst", "quota", "expires", "cidrs", "quiet"},
    "list": {"owner"},
    "revoke": {"key"},
    "rotate": {"key", "grace", "quiet"},
}
