"""A release from its first check to its end: what it does to the endpoint and to the registry."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rich.console import Console

from aiplat.errors import AiplatError, ClusterError, ConfigError
from aiplat.jobs.release_watch import ReleaseWatch
from aiplat.jobs.serving_schema import ReleaseConfig
from aiplat.registry.mlflow import Registry
from aiplat.registry.versions import ModelVersion
from aiplat.serving.config import ServingConfig
from aiplat.serving.releases.judge import Limits
from aiplat.serving.releases.release import LOOK_S, ROLLED_BACK, SUCCEEDED, Release
from aiplat.serving.releases.report import ReleaseReport
from aiplat.serving.releases.rollout import Heartbeat, Outcome, Plan, Rollout
from aiplat.serving.releases.store import ReleaseStore
from aiplat.serving.served import ModelInfo
from aiplat.store import files
from aiplat.tasks.fields import InputField, OutputField

# Every replica of the endpoint has heard of a release's end by then.
_HEARD_S = 3 * LOOK_S
_CHECK_S = 5.0


class Endpoint(Protocol):
    """The endpoint as a release needs it; see `cluster.candidates.RunningEndpoint`."""

    @property
    def versions(self) -> Mapping[str, str]: ...  # noqa: D102

    @property
    def config(self) -> ServingConfig: ...  # noqa: D102

    def describe(self, name: str) -> ModelInfo: ...  # noqa: D102

    def serves(self, name: str) -> str | None: ...  # noqa: D102

    def update(self, models: Mapping[str, ModelVersion]) -> None: ...  # noqa: D102

    def start_candidate(self, name: str, version: ModelVersion) -> ModelInfo: ...  # noqa: D102

    def remove_candidate(self, name: str) -> None: ...  # noqa: D102


@dataclass
class ReleaseRun:
    """One release. store: of the endpoint's database."""

    config: ReleaseConfig
    registry: Registry
    candidate: ModelVersion
    endpoint: Endpoint
    store: ReleaseStore
    console: Console
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        self._checked_at = self.clock()

    def check(self) -> None:
        """Raises ConfigError where the release could not come to its end."""
        name, candidate = self.config.name, self.candidate
        served = self.endpoint.versions.get(name)
        if served is None:
            known = ", ".join(self.endpoint.versions)
            raise ConfigError(f"the endpoint serves no model {name!r} (it serves: {known})")
        if candidate.name != name:
            raise ConfigError(
                f"candidate={self.config.candidate} is {candidate.id}, expected a version of {name}"
            )
        if str(candidate.version) == served:
            raise ConfigError(
                f"candidate={self.config.candidate} is {candidate.id}, which the endpoint serves "
                "already: name another version"
            )
        if self._promotes:
            pointed = self.registry.resolve(f"{name}@{self.config.alias}")
            if str(pointed.version) != served:
                raise ConfigError(
                    f"the alias {self.config.alias} points to {pointed.id}, and the endpoint "
                    f"serves {name}:{served}: the alias that moves in the end must be the one that "
                    f"is served; write model={name}@<alias>, or end the steps before 100"
                )

    def run(self, watch: ReleaseWatch) -> ReleaseReport:
        """Do it, whatever comes of it, and write the report. Raises KeyboardInterrupt after that.

        Raises ConfigError or ClusterError where it cannot begin.
        """
        name = self.config.name
        champion = self.endpoint.versions[name]
        new = Release(name, champion, str(self.candidate.version), self.config.sticky)
        release = self.store.begin(new)
        rollout = self._rollout(release, watch)
        interrupted: KeyboardInterrupt | None = None
        try:
            with Heartbeat(self.store, release):
                try:
                    watch.say(f"starting replicas of {self.candidate.id}")
                    self._start_candidate()
                    watch.say(f"release {release.id}: {name}:{champion} -> {self.candidate.id}")
                    outcome = rollout.run()
                    if outcome.state == SUCCEEDED and self._promotes:
                        outcome = self._promoted(outcome, watch)
                except KeyboardInterrupt as error:
                    interrupted = error
                    outcome = Outcome(ROLLED_BACK, "interrupted", rollout.findings)
                except AiplatError as error:
                    outcome = Outcome(ROLLED_BACK, str(error), rollout.findings)
                except Exception as error:
                    self.store.end(release.id, ROLLED_BACK, f"{type(error).__name__}: {error}")
                    raise
                # From the next look of an endpoint on all its requests go to the champion.
                self.store.end(release.id, outcome.state, outcome.reason)
        finally:
            watch.say("removing the candidate's replicas")
            self.sleep(_HEARD_S)
            self.endpoint.remove_candidate(name)
        report = ReleaseReport(self.store.find(release.id), outcome, rollout.evidence)
        self._keep(report)
        if interrupted is not None:
            raise interrupted
        return report

    @property
    def _promotes(self) -> bool:
        return self.config.shares[-1] == 1

    def _rollout(self, release: Release, watch: ReleaseWatch) -> Rollout:
        config = self.config
        plan = Plan(
            config.shares,
            config.mirror / 100,
            config.min_requests,
            config.step_s,
            config.timeout_s,
        )
        limits = Limits(
            config.max_error_share,
            config.max_latency_ratio,
            config.max_disagreement,
            config.alpha,
        )
        return Rollout(
            self.store,
            release,
            plan,
            limits,
            watch,
            lambda: self._disturbed(release),
            self.clock,
            self.sleep,
        )

    def _start_candidate(self) -> None:
        name = self.config.name
        served, info = (
            self.endpoint.describe(name),
            self.endpoint.start_candidate(name, self.candidate),
        )
        for what in ("inputs", "outputs"):
            ours, theirs = _shape(getattr(served, what)), _shape(getattr(info, what))
            if ours != theirs:
                raise ConfigError(
                    f"{self.candidate.id} has other {what} than {name}:{served.version} "
                    f"({theirs}, {ours}): what clients send and get would change; serve it under "
                    "another name"
                )

    def _disturbed(self, release: Release) -> str | None:
        """Why the release cannot go on; looked for now and then."""
        if self.clock() - self._checked_at < _CHECK_S:
            return None
        self._checked_at = self.clock()
        serves = self.endpoint.serves(release.endpoint)
        if serves not in (None, release.champion):
            return f"the endpoint was given version {serves} of {release.endpoint} meanwhile"
        return None

    def _promoted(self, outcome: Outcome, watch: ReleaseWatch) -> Outcome:
        """Make the candidate what the endpoint serves; the champion again where that fails."""
        name, alias = self.config.name, self.config.alias
        before = self.endpoint.versions[name]
        watch.say(f"moving the alias {alias} to {self.candidate.id}")
        self.registry.set_alias(self.candidate.id, alias)
        try:
            self._update()
        except BaseException:
            self.registry.set_alias(f"{name}:{before}", alias)
            raise
        return outcome

    def _update(self) -> None:
        """Return once the endpoint serves the candidate as its own. Raises ClusterError."""
        name, config = self.config.name, self.endpoint.config
        if config.detach or config.follow_s is None:
            self._deploy()
            return
        deadline = self.clock() + config.follow_s + config.start_timeout_s
        while self.endpoint.serves(name) != str(self.candidate.version):
            if self.clock() > deadline:
                raise ClusterError(
                    f"the endpoint still serves {name}:{self.endpoint.versions[name]} "
                    f"{config.start_timeout_s:g} s after the alias moved: see what the job says "
                    f"that serves it; it must run, and follow models=[{name}@{self.config.alias}]"
                )
            self.sleep(LOOK_S)

    def _deploy(self) -> None:
        """Deploy the candidate where no job follows the alias for the endpoint."""
        served = {
            name: self.registry.resolve(f"{name}:{version}")
            for name, version in self.endpoint.versions.items()
        }
        try:
            self.endpoint.update({**served, self.config.name: self.candidate})
        except AiplatError:
            # Serve would go on trying to start what cannot start.
            self.endpoint.update(served)
            raise

    def _keep(self, report: ReleaseReport) -> None:
        storage = files.absolute(self.config.storage)
        with tempfile.TemporaryDirectory() as scratch:
            files.write_json(str(Path(scratch, "release.json")), report.to_json())
            report.draw(Path(scratch, "release.png"))
            folder = files.join(storage, "releases", report.release.id)
            files.copy_folder(scratch, folder)
        self.console.print(f"report: {folder}", markup=False)


def _shape(fields: Sequence[InputField | OutputField]) -> list[tuple[str, str]]:
    return [(field.name, field.kind) for field in fields]
