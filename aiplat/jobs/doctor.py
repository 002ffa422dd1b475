"""Look for what is wrong with this machine and its cluster, and say what to do about it."""

import sys
import tempfile
from collections.abc import Iterator
from functools import partial

from aiplat.cluster.checkup import check_cluster
from aiplat.config import command
from aiplat.doctor import exchange, machine, measures, software
from aiplat.doctor.finding import Check, Finding, looked_at
from aiplat.errors import AiplatError
from aiplat.jobs.cluster_schema import DoctorConfig
from aiplat.jobs.doctor_report import FORMATS
from aiplat.store import files


def main(config: DoctorConfig) -> None:
    """Look at everything, write the report; a problem is a fault of the job."""
    findings = list(_findings(config))
    FORMATS[config.format](findings, sys.stdout)
    problems = [finding for finding in findings if finding.level == "problem"]
    if problems:
        told = "; ".join(f"{finding.name}: {finding.value}" for finding in problems)
        raise AiplatError(f"{len(problems)} of {len(findings)} checks found a problem: {told}")


def _findings(config: DoctorConfig) -> Iterator[Finding]:
    for name, check in _checks(config).items():
        yield from looked_at(name, check)


def _checks(config: DoctorConfig) -> dict[str, Check]:
    storage = files.absolute(config.storage)
    folders = [("temporary files", tempfile.gettempdir())]
    if not files.is_remote(storage):
        folders.append(("storage", storage))
    checks: dict[str, Check] = {
        "python": software.check_python,
        "torch": software.check_torch,
        "memory": machine.check_memory,
        "disk": partial(machine.check_disk, folders),
        "limits": machine.check_limits,
        "ports": machine.check_ports,
        "cluster": partial(check_cluster, config.cluster),
    }
    if not config.measure:
        return checks
    return checks | {
        "disk writes": partial(measures.measure_disk, machine.existing(folders[-1][1])),
        "JPEG decoding": measures.measure_decoding,
        "copies to the GPU": measures.measure_copy,
        "all-reduce": exchange.measure_all_reduce,
        "HTTP echo": measures.measure_echo,
    }


if __name__ == "__main__":
    sys.argv = ["format=json" if item == "--json" else item for item in sys.argv]
    command.run(main, "doctor", DoctorConfig)
