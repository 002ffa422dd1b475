"""From a registered version to a predictor: by the engine that was chosen, or one that is named."""

import logging
from dataclasses import dataclass
from pathlib import Path

from aiplat.errors import RegistryError
from aiplat.inference.engines.engine import EngineError, engine_of
from aiplat.inference.engines.program import read_program
from aiplat.inference.hardware import describe
from aiplat.inference.predictor import Predictor, choose_device
from aiplat.inference.stored import Choice, Place, fetch_program, stored_choice
from aiplat.registry.folder import ModelFolder
from aiplat.registry.versions import ModelVersion, fetch

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """How a version is to be opened, as in `InferenceConfig`; threads: what the process has."""

    engine: str = "auto"
    precision: str = "auto"
    device: str = "auto"
    threads: int = 1


@dataclass(frozen=True)
class Plan:
    """What follows from what is wanted and what is stored.

    choice: the stored one, where its program serves. why: in words, for the log.
    """

    engine: str
    precision: str
    choice: Choice | None
    why: str


def open_version(version: ModelVersion, wanted: Wanted) -> Predictor:
    """The version's predictor; its log line says which engine answers, and why.

    Raises EngineError where an engine that is named cannot compute the model.
    """
    folder = fetch(version)
    plan = planned(wanted, *_found(version, folder, wanted))
    program = None
    if plan.choice is not None and plan.choice.program is not None:
        program, plan = _program(version, plan, wanted)
    LOG.info("%s answers by %s in %s: %s", version.id, plan.engine, plan.precision, plan.why)
    return Predictor.open(
        folder.path, wanted.device, plan.precision, plan.engine, wanted.threads, program
    )


def planned(wanted: Wanted, choice: Choice | None, misfit: str) -> Plan:
    """Which engine answers in which precision. misfit: why there is no choice, in words."""
    precision = "fp32" if wanted.precision == "auto" else wanted.precision
    if choice is not None and wanted.precision not in ("auto", choice.precision):
        misfit = f"precision={precision} is wanted, {choice.called} was chosen"
        choice = None
    if wanted.engine == "auto":
        if choice is None:
            return Plan("eager", precision, None, misfit)
        return Plan(choice.engine, choice.precision, choice, "it was chosen by measurement")
    if wanted.engine == "eager":
        return Plan("eager", precision, None, "engine=eager")
    if choice is not None and choice.engine == wanted.engine:
        return Plan(choice.engine, choice.precision, choice, "compiled before")
    return Plan(wanted.engine, precision, None, "compiled now")


def _found(version: ModelVersion, folder: ModelFolder, wanted: Wanted) -> tuple[Choice | None, str]:
    """The choice that fits here, or why there is none."""
    if wanted.engine == "eager":
        return None, ""
    device = str(choose_device(wanted.device))
    place = Place(str(folder.about["weights_sha256"]), describe(device), wanted.threads)
    choice = stored_choice(version, place)
    if choice is None:
        return None, (
            f"no engine was chosen for {place.hardware} with {place.threads} threads; "
            f"choose one with: python -m aiplat.jobs.optimize model={version.id}"
        )
    if choice.program is None:
        return choice, ""
    try:
        release = engine_of(choice.engine).version()
    except EngineError as error:
        return None, f"{choice.called} was chosen, but {error}"
    if release != choice.release:
        return None, (
            f"{choice.called} was chosen with release {choice.release}, {release} is installed: "
            "optimize anew"
        )
    return choice, ""


def _program(version: ModelVersion, plan: Plan, wanted: Wanted) -> tuple[Path | None, Plan]:
    """The files of the plan's choice, and the plan without them where they are of no use."""
    if plan.choice is None:
        return None, plan
    try:
        program = fetch_program(version, plan.choice)
        read_program(program)
        return program, plan
    except RegistryError as error:
        LOG.warning("%s", error)
        return None, planned(wanted, None, str(error))
