"""The configuration of the jobs around a cluster and its machines: see `schema`."""

from dataclasses import dataclass, field
from typing import Literal

from aiplat.cluster.definition import ClusterDefinition
from aiplat.cluster.scale import ClusterConfig
from aiplat.config.words import rest, word
from aiplat.errors import ConfigError


@dataclass(kw_only=True)
class ClusterJobConfig:
    """Start a cluster, end it, say what is in it, or write the files that start it elsewhere.

    action: what to do; may be the first word.
    output: folder that the files of a cluster are written to, one folder for each provider.
    storage: folder that everything aiplat makes lands under, on this machine.
    """

    action: Literal["up", "down", "status", "render"] = word("status")
    cluster: ClusterDefinition
    output: str = "deploy"
    storage: str = "storage"


@dataclass(kw_only=True)
class DoctorConfig:
    """Look for what is wrong with this machine and the cluster it belongs to, and say the remedy.

    format: `table` for people; `json` for programs, on the standard output. `--json` is the same.
    measure: whether disk, decoding, copies, all-reduce and HTTP are measured, too.
    cluster: whose nodes are asked; none is started.
    storage: folder or URI that everything aiplat makes lands under.
    """

    format: Literal["table", "json"] = "table"
    measure: bool = True
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    storage: str = "storage"


@dataclass(kw_only=True)
class EntrypointConfig:
    """What the driver of a submitted job takes of its node, besides what its workers take.

    num_cpus, num_gpus: of that node; 0, and nothing below: it runs on the head.
    memory_gb: of that node, in GiB.
    labels: that the node has.
    """

    num_cpus: float = 0
    num_gpus: float = 0
    memory_gb: float = 0
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class SubmitConfig:
    """Run a job on a cluster, show what it says, and exit as it does.

    What comes before the name of the job is for this one, what follows for the job.

    action: what to do; may be the first word, and is `run` where that names a job.
    job: the job to run, as `train`; of `logs` and `stop`: the id that `list` shows.
    arguments: what the job is told, as on a command line of its own.
    address: of the cluster's dashboard (`http://head:8265`); `auto`: of the cluster that this
        machine belongs to. Its token is the one in RAY_AUTH_TOKEN, in the file that
        RAY_AUTH_TOKEN_PATH names, or in `~/.ray/auth_token`.
    environment: libraries of the job: `cluster`, those its nodes have; `install`, those that are
        installed here, brought to each node once; `auto`: the nodes', unless some lack.
    extras: of aiplat's, that the job needs (`demo`, `openvino`).
    python: interpreter on the head, as its shell finds it.
    max_package_mb: what may travel with the job, compressed, in MiB.
    project: what the job is listed under; null: the name of this folder.
    detach: leave it alone once it was submitted.
    supervise: start it again when its driver or node died, also when the whole cluster did.
    max_resubmissions: how often.
    backoff_s: seconds before the first time; twice as many before each further one.
    entrypoint: what its driver takes of a node.
    storage: of `revive`: where the jobs to start again are recorded.
    """

    action: Literal["run", "list", "logs", "stop", "revive"] = word("list")
    job: str | None = None
    arguments: list[str] = rest(word="run", name="job")
    address: str = "auto"
    environment: Literal["auto", "cluster", "install"] = "auto"
    extras: list[str] = field(default_factory=list)
    python: str = "python"
    max_package_mb: int = 100
    project: str | None = None
    detach: bool = False
    supervise: bool = False
    max_resubmissions: int = 5
    backoff_s: float = 5.0
    entrypoint: EntrypointConfig = field(default_factory=EntrypointConfig)
    storage: str | None = None

    def __post_init__(self) -> None:
        if self.action in ("run", "logs", "stop") and self.job is None:
            what = "the name of a job" if self.action == "run" else "job=<id>; 'list' shows them"
            raise ConfigError(f"{self.action} needs {what}")
        if self.action == "revive" and self.storage is None:
            raise ConfigError("revive needs storage=<folder or URI>, which the cluster reaches")
        if self.max_resubmissions < 0 or self.backoff_s < 0:
            raise ConfigError("max_resubmissions and backoff_s cannot be negative")
