"""What has to be settled before a job can be submitted: all that is wrong is told before that."""

import getpass
import importlib
import re
import tempfile
import typing
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from aiplat.cluster.submission.client import DashboardJobs, Jobs, Resources, dashboard_of, follow
from aiplat.cluster.submission.environment import answered, pins, question, runtime_env
from aiplat.cluster.submission.package import check_size, left_behind, pack, tracked
from aiplat.cluster.submission.submission import Submission, Supervision, start
from aiplat.config import command
from aiplat.config.problems import suggestion
from aiplat.errors import ConfigError
from aiplat.jobs.cluster_schema import SubmitConfig
from aiplat.jobs.listing import job_purposes
from aiplat.jobs.submit_follow import Following, hints
from aiplat.jobs.submit_table import QUESTION
from aiplat.store import files

# Of a job's metadata: what tells later ones whether this cluster has the libraries.
ENVIRONMENT = "environment"
_NOT_FOR_A_CLUSTER = {"--help", "-h", "--cfg", "-c", "--multirun", "-m"}
_NUM_NAMED = 3


def run(console: Console, config: SubmitConfig) -> int:
    """Submit the job and follow it; returns its exit status. Raises AiplatError."""
    submission = planned(config)
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch, "package.zip")
        _pack(console, Path.cwd(), archive, config.max_package_mb)
        jobs = DashboardJobs(dashboard_of(config.address))
        install = _libraries(console, config, jobs)
        environment = runtime_env(install) | {"working_dir": str(archive)}
        noted = {ENVIRONMENT: "install" if install else "cluster"}
        submission = replace(submission, metadata={**submission.metadata, **noted})

        def resubmit(found: Jobs) -> bool:
            return start(found, submission, environment)

        resubmit(jobs)
        console.print(f"Submitted {submission.id}; the dashboard: {jobs.url}/#/jobs")
        if config.detach:
            console.print(hints(submission.id, config.address))
            return 0
        lasting = resubmit if submission.supervision else None
        return Following(console, submission.id, config.address, jobs, lasting).run()


def planned(config: SubmitConfig) -> Submission:
    """The job to submit. Raises ConfigError where it would refuse its arguments."""
    name, arguments = str(config.job), config.arguments
    if name not in job_purposes():
        raise ConfigError(f"there is no job {name!r}; {suggestion(name, job_purposes())}")
    if asked := _NOT_FOR_A_CLUSTER & set(arguments):
        raise ConfigError(
            f"{min(asked)} needs no cluster: python -m aiplat.jobs.{name} {' '.join(arguments)}"
        )
    module = importlib.import_module(f"aiplat.jobs.{name}")
    root = typing.get_type_hints(module.main)["config"]
    job = command.checked(name, root, arguments)
    storage = _lasting_storage(job)
    supervision = None
    if config.supervise:
        if storage is None:
            raise ConfigError(f"supervise=true is for jobs with a storage; {name} has none")
        supervision = Supervision(storage, config.max_resubmissions, config.backoff_s)
    experiment = str(getattr(job, "name", None) or name)
    entrypoint = config.entrypoint
    return Submission(
        id=_id(name, experiment),
        python=config.python,
        arguments=("-m", f"aiplat.jobs.{name}", *arguments),
        metadata={
            "user": getpass.getuser(),
            "project": config.project or Path.cwd().name,
            "experiment": experiment,
            "job": name,
        },
        resources=Resources(
            num_cpus=entrypoint.num_cpus,
            num_gpus=entrypoint.num_gpus,
            memory=int(entrypoint.memory_gb * (1 << 30)),
            label_selector=entrypoint.labels,
        ),
        supervision=supervision,
    )


def _lasting_storage(job: Any) -> str | None:
    """The job's storage. Raises ConfigError where it would be in the job's own copy of a folder."""
    storage = getattr(job, "storage", None)
    if storage is None or files.is_remote(storage) or Path(storage).is_absolute():
        return storage
    raise ConfigError(
        f"storage={storage}: on the cluster, that is inside the copy of this folder, which goes "
        "with the job; name one that all nodes reach, such as storage=/shared/aiplat, or "
        f"storage={files.absolute(storage)} where the cluster is this machine"
    )


def _id(name: str, experiment: str) -> str:
    plain = re.sub(r"[^\w.-]+", "-", experiment)
    begun = f"{name}-{plain}" if plain != name else name
    return f"{begun}-{uuid.uuid4().hex[:8]}"


def _pack(console: Console, folder: Path, archive: Path, limit_mb: int) -> None:
    names = tracked(folder)
    pack(folder, names, archive)
    check_size(archive, limit_mb)
    if others := left_behind(folder):
        named = ", ".join(others[:_NUM_NAMED]) + (", ..." if len(others) > _NUM_NAMED else "")
        console.print(f"git does not track {named}: what it does not track stays here")


def _libraries(console: Console, config: SubmitConfig, jobs: DashboardJobs) -> list[str]:
    """Those to install on the nodes. Raises ClusterError."""
    if config.environment == "cluster":
        return []
    if config.environment == "auto" and not _lacks(console, config, jobs):
        return []
    jobs.check_version()
    return pins(config.extras)


def _lacks(console: Console, config: SubmitConfig, jobs: Jobs) -> bool:
    """Whether the nodes lack libraries: as an earlier job was told, else by asking the head."""
    for state in [] if config.extras else jobs.all():
        if known := state.metadata.get(ENVIRONMENT):
            return known == "install"
    said: list[str] = []
    job_id = f"libraries-{uuid.uuid4().hex[:8]}"
    with console.status("Asking which libraries the cluster has"):
        asked = question(config.python, config.extras)
        jobs.submit(job_id, asked, {}, {QUESTION: "libraries"}, Resources())
        follow(jobs, job_id, said.append)
    lacking = answered("".join(said))
    if lacking == []:
        return False
    told = (
        f"{config.python} there lacks {', '.join(lacking[:_NUM_NAMED])}"
        if lacking
        else "".join(said).strip().rpartition("\n")[2] or "its head does not say"
    )
    console.print(f"The cluster lacks libraries ({told}): they are installed, once for each node")
    return True
