"""Releases on a real cluster, under traffic: one that must be stopped, and one that must not."""

import io
import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from aiplat.cluster.session import Session
from aiplat.config.compose import compose
from aiplat.jobs.serving_schema import ReleaseConfig
from aiplat.registry.versions import ModelVersion
from aiplat.serving.config import AutoscalingConfig, ReplicaConfig, ServingConfig
from aiplat.serving.metering.account import Account
from aiplat.serving.metering.books import BooksPlace, books_place, settle
from aiplat.serving.metering.prices import PriceList
from aiplat.serving.releases.release import ROLLED_BACK, SUCCEEDED
from aiplat.serving.releases.report import ReleaseReport
from aiplat.serving.releases.store import ReleaseStore
from aiplat.store.records import open_records
from tests.cluster.test_serve import as_json, send
from tests.serving.shapes import picture, shapes_folder

# Ray Serve declares and uses its own deprecated settings.
pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

ROLLED_BACK_WITHIN_S = 10


@dataclass
class Versions:
    """A registry: 1 and 3 answer alike, 2 answers what is least probable."""

    folders: dict[int, Path]
    champion: int = 1

    def resolve(self, reference: str) -> ModelVersion:
        number = reference.replace("@", ":").partition(":")[2]
        found = self.champion if number == "champion" else int(number)
        name = reference.replace("@", ":").partition(":")[0]
        return ModelVersion(name, found, (), str(self.folders[found]), "", "", "", "")

    def set_alias(self, reference: str, alias: str) -> ModelVersion:
        self.champion = self.resolve(reference).version
        return self.resolve(reference)


@dataclass
class Place:
    """An endpoint over shapes:1 and what belongs to it."""

    url: str
    registry: Versions
    books: BooksPlace
    storage: Path


@pytest.fixture(scope="module")
def place(
    cluster: Session, serve_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    from aiplat.cluster import serve

    root = tmp_path_factory.mktemp("release")
    same = shapes_folder(root / "same")
    registry = Versions({1: same, 2: shapes_folder(root / "turned", turned=True), 3: same})
    yield opened(root, registry, serve_port, ["shapes"])
    serve.take_down()


def opened(
    root: Path, registry: Versions, port: int, names: Sequence[str], **settings: Any
) -> Place:
    """Deploy an endpoint over the first version of each name, its books below `root`."""
    from aiplat.cluster import serve

    books = books_place(str(root / "storage"), None)
    books.open_ledger().close()
    config = ServingConfig(
        port=port,
        auth=False,
        # Nobody follows its alias but the release.
        detach=True,
        replica=ReplicaConfig(num_cpus=0.5),
        autoscaling=AutoscalingConfig(max_replicas=1),
        **settings,
    )
    models = {name: registry.resolve(f"{name}:1") for name in names}
    return Place(serve.deploy(models, config, books).url, registry, books, root / "storage")


@dataclass
class Users:
    """Two clients that ask without end, until the block does. answers: when, status, version."""

    url: str
    model: str = "shapes"
    answers: list[tuple[float, int, str]] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Users":
        self.clients = ThreadPoolExecutor(2)
        self.asking = [self.clients.submit(self.ask) for _ in range(2)]
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        self.clients.shutdown()
        for asking in self.asking:
            asking.result()

    def ask(self) -> None:
        body = as_json([{"image": picture(3), "text": "is it?"}])
        while not self.is_over.is_set():
            status, headers, _ = send(f"{self.url}/v1/models/{self.model}:predict", body)
            self.answers.append((time.time(), status, str(headers["X-Model-Version"])))
            time.sleep(0.02)

    @property
    def statuses(self) -> set[int]:
        return {status for _, status, _ in self.answers}

    def last_of(self, version: str) -> float:
        return max(at for at, _, number in self.answers if number == version)


def release(place: Place, *overrides: str) -> ReleaseReport:
    """Run the job as its `main` does."""
    from aiplat.cluster.candidates import RunningEndpoint
    from aiplat.jobs.release_run import ReleaseRun
    from aiplat.jobs.release_watch import ReleaseWatch

    given = [f"storage={place.storage}", "model=shapes", "sticky=none", "step_s=3", *overrides]
    config = compose("release", ReleaseConfig, [*given, "min_requests=40", "timeout_s=120"])
    console = Console(file=io.StringIO())
    endpoint = RunningEndpoint.find()
    with closing(open_records(endpoint.books.records, create=False)) as records:
        run = ReleaseRun(
            config,
            place.registry,  # type: ignore[arg-type]
            place.registry.resolve(config.candidate_reference),
            endpoint,
            ReleaseStore(records),
            console,
        )
        run.check()
        with ReleaseWatch(console) as watch:
            return run.run(watch)


def applications() -> set[str]:
    from ray import serve as ray_serve

    return set(ray_serve.status().applications)


def waited(true: Callable[[], bool], seconds: float = 30) -> bool:
    """Whether it becomes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.2)
    return False


def test_a_bad_candidate_is_rolled_back_by_itself_and_no_request_fails(place: Place) -> None:
    with Users(place.url) as users:
        report = release(place, "candidate=2", "steps=[30,100]", "mirror=50")
        assert waited(lambda: users.answers[-1][0] > time.time() - 1)
    assert users.statuses == {200}
    assert report.outcome.state == ROLLED_BACK
    assert "disagreement: 100.00% of" in report.outcome.reason
    assert "2" in {version for _, _, version in users.answers}
    ended_at = report.release.ended_at
    assert ended_at is not None
    took_s = users.last_of("2") - ended_at
    assert took_s < ROLLED_BACK_WITHIN_S
    assert users.answers[-1][2] == "1"
    assert applications() == {"aiplat"}
    told = json.loads((place.storage / "releases" / report.release.id / "release.json").read_text())
    assert told["reason"] == report.outcome.reason
    assert place.registry.champion == 1


def test_a_shadow_answers_nobody_and_the_books_close(place: Place) -> None:
    with Users(place.url) as users:
        report = release(place, "candidate=3", "shadow=true", "mirror=50")
    assert users.statuses == {200}
    assert {version for _, _, version in users.answers} == {"1"}
    assert report.outcome.state == SUCCEEDED, report.outcome.reason
    (step,) = report.evidence.steps
    assert (step.disagreement, step.candidate.failures) == (0, 0)
    with closing(place.books.open_ledger()) as ledger:

        def closes() -> bool:
            settle(place.books.folder, ledger)
            found = (
                Account(PriceList())
                .add(ledger.records(0, math.inf))
                .reconciled(
                    ledger.replica_minutes(0, time.time() + 60), ledger.mirrored_s(0, math.inf)
                )
            )
            return found.closes and found.mirrored_s > 0

        assert waited(closes)


def test_a_good_candidate_is_served_in_the_end_and_no_request_fails(place: Place) -> None:
    with Users(place.url) as users:
        report = release(
            place, "candidate=3", "steps=[50,100]", "max_latency_ratio=20", "mirror=20"
        )
        time.sleep(2)
    assert report.outcome.state == SUCCEEDED, report.outcome.reason
    assert users.statuses == {200}
    assert users.answers[-1][2] == "3"
    assert place.registry.champion == 3
    assert applications() == {"aiplat"}
    assert send(f"{place.url}/v1/models/shapes")[2]["version"] == "3"
