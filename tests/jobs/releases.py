"""An endpoint, its users and a registry for releases: none of them real, but for the database."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from aiplat.config.compose import compose
from aiplat.errors import ClusterError
from aiplat.jobs.release_run import ReleaseRun
from aiplat.jobs.release_watch import ReleaseWatch, show_report
from aiplat.jobs.serving_schema import ReleaseConfig
from aiplat.registry.versions import ModelVersion
from aiplat.serving.config import ServingConfig
from aiplat.serving.metering.ledger import Ledger, comparison_line, usage_line
from aiplat.serving.metering.usage import UsageRecord
from aiplat.serving.releases.comparison import Comparison
from aiplat.serving.releases.release import Release
from aiplat.serving.releases.report import ReleaseReport
from aiplat.serving.releases.store import ReleaseStore
from aiplat.serving.served import ModelInfo
from aiplat.tasks.fields import InputField, OutputField

LABEL = (OutputField("label", "label"),)


def version(number: int, name: str = "clip") -> ModelVersion:
    return ModelVersion(name, number, (), "", "", "", "data@1", "")


@dataclass
class FakeRegistry:
    """Aliases of `clip`."""

    aliases: dict[str, int] = field(default_factory=lambda: {"champion": 1, "challenger": 2})
    moved: list[int] = field(default_factory=list)

    def resolve(self, reference: str) -> ModelVersion:
        name, _, number = reference.replace("@", ":").partition(":")
        return version(self.aliases.get(number) or int(number), name)

    def set_alias(self, reference: str, alias: str) -> ModelVersion:
        found = self.resolve(reference)
        self.aliases[alias] = found.version
        self.moved.append(found.version)
        return found


@dataclass
class FakeEndpoint:
    """An endpoint over clip:1 and bert:5, whose job follows the champion."""

    registry: FakeRegistry
    config: ServingConfig = field(default_factory=ServingConfig)
    versions: Mapping[str, str] = field(default_factory=lambda: {"clip": "1", "bert": "5"})
    outputs: tuple[OutputField, ...] = LABEL
    follows: bool = True
    broken: int = 0
    candidates: list[str] = field(default_factory=list)
    updates: list[dict[str, int]] = field(default_factory=list)
    removed: int = 0

    def describe(self, name: str) -> ModelInfo:
        return ModelInfo(name, self.versions[name], (InputField("x", "number"),), LABEL)

    def serves(self, name: str) -> str | None:
        return str(self.registry.aliases["champion"]) if self.follows else self.versions[name]

    def update(self, models: Mapping[str, ModelVersion]) -> None:
        self.updates.append({name: each.version for name, each in models.items()})
        if self.broken in self.updates[-1].values():
            raise ClusterError("the weights do not fit")

    def start_candidate(self, name: str, found: ModelVersion) -> ModelInfo:
        self.candidates.append(found.id)
        if found.version == self.broken:
            raise ClusterError("the weights do not fit")
        return replace(self.describe(name), version=str(found.version), outputs=self.outputs)

    def remove_candidate(self, name: str) -> None:
        self.removed += 1


@dataclass
class World:
    """Users of an endpoint, in a time that passes when the job sleeps.

    takes_s: what the candidate takes, where others take 20 ms. disagreeing: rows of four.
    """

    storage: Path
    store: ReleaseStore
    ledger: Ledger
    endpoint: FakeEndpoint
    registry: FakeRegistry
    takes_s: float = 0.02
    disagreeing: int = 0
    num_keys: int = 1000
    at_second: Callable[[int], None] = lambda _: None
    now: float = 1000.0
    asked: int = 0
    told: io.StringIO = field(default_factory=io.StringIO)

    def sleep(self, seconds: float) -> None:
        for _ in range(max(1, int(seconds))):
            self.now += 1
            self.at_second(int(self.now - 1000))
            for release in self.store.running():
                self.ledger.take([line for _ in range(40) for line in self._ask(release)])

    def _ask(self, release: Release) -> list[dict[str, object]]:
        self.asked += 1
        name = str(self.asked)
        key = f"key{self.asked % self.num_keys}"
        is_canary = release.gives(key)
        number = release.candidate if is_canary else release.champion
        seconds = self.takes_s if is_canary else 0.02
        lines = [
            usage_line(
                UsageRecord(
                    "clip", name, self.now, key, version=number, status=200, total_s=seconds
                )
            )
        ]
        if release.mirrors(name):
            comparison = Comparison(
                name, release.id, "clip", number, 4, True, self.disagreeing, at=self.now
            )
            lines.append(comparison_line(comparison))
        return lines

    def run(self, *overrides: str) -> ReleaseRun:
        given = ["clip", f"storage={self.storage}", "step_s=5", "min_requests=50", "timeout_s=60"]
        given.append("steps=[10,50,100]")
        spelled = [f"model={given[0]}", *given[1:], *overrides]
        config = compose("release", ReleaseConfig, spelled)
        candidate = self.registry.resolve(config.candidate_reference)
        console = Console(file=self.told, soft_wrap=True, highlight=False)
        run = ReleaseRun(
            config,
            self.registry,  # type: ignore[arg-type]
            candidate,
            self.endpoint,
            self.store,
            console,
            clock=lambda: self.now,
            sleep=self.sleep,
        )
        run.check()
        return run

    def release(self, *overrides: str) -> ReleaseReport:
        run = self.run(*overrides)
        with ReleaseWatch(run.console) as watch:
            report = run.run(watch)
        show_report(run.console, report)
        return report

    @property
    def page(self) -> str:
        return self.told.getvalue()
