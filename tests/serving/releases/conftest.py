"""Two versions of a model that say whether a number is large, behind an app that knows releases."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Self

import httpx
import pytest
from fastapi import Request

from aiplat.serving.app import create_app
from aiplat.serving.config import ServingConfig
from aiplat.serving.gate import Caller
from aiplat.serving.metering.usage import UsageRecord
from aiplat.serving.releases.comparison import Comparison
from aiplat.serving.releases.known import KnownReleases
from aiplat.serving.releases.release import Release
from aiplat.serving.releases.store import ReleaseStore
from aiplat.serving.served import Answer, Answers, ModelInfo, Row
from aiplat.store.records import Records
from aiplat.tasks.fields import InputField, OutputField
from tests.databases import postgres_server, records, sqlite_records, url

__all__ = ["postgres_server", "records", "sqlite_records", "url"]

OUTPUTS = (OutputField("label", "label"), OutputField("probabilities", "probabilities"))


def answer(is_large: bool) -> Answer:
    share = 0.9 if is_large else 0.2
    return {
        "label": "large" if is_large else "small",
        "probabilities": {"large": share, "small": 1 - share},
    }


@dataclass
class Version:
    """A version of `sizes`. limit: from where on a number is large. fails: what it raises."""

    number: str
    limit: float = 10.0
    fails: Exception | None = None
    takes_s: float = 0.0
    asked: list[list[Row]] = field(default_factory=list)

    @property
    def info(self) -> ModelInfo:
        inputs = (InputField("x", "number", example=1.0),)
        return ModelInfo("sizes", self.number, inputs, OUTPUTS)

    async def predict(self, rows: Sequence[Row]) -> Answers:
        self.asked.append(list(rows))
        await asyncio.sleep(self.takes_s)
        if self.fails is not None:
            raise self.fails
        answers = tuple(answer(row["x"] >= self.limit) for row in rows)
        return Answers(self.number, answers, f"replica-{self.number}", compute_s=0.25)

    async def ready(self) -> bool:
        return True


class ByName:
    """Takes every name for a key."""

    needs_key = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def admit(self, request: Request, model: str | None) -> Caller:
        name = request.headers.get("x-api-key", "")
        request.state.caller = Caller(name, name)
        return Caller(name, name)


@dataclass
class Scene:
    """An endpoint over a champion, and a release as its database has it."""

    release: Release = field(
        default_factory=lambda: Release("sizes", "1", "2", weight=1.0, heartbeat=1.0, id="r")
    )
    champion: Version = field(default_factory=lambda: Version("1"))
    candidate: Version = field(default_factory=lambda: Version("2"))
    config: ServingConfig = field(default_factory=ServingConfig)
    is_running: bool = True
    now: float = 0.0
    records: list[UsageRecord] = field(default_factory=list)
    notes: list[Comparison] = field(default_factory=list)
    counted: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.known = KnownReleases(
            self.config, self._read, self._open, self.notes.append, self.counted.append, self._ticks
        )
        self.app = create_app(
            {"sizes": self.champion},
            self.config,
            gate=ByName(),
            record=self.records.append,
            router=self.known,
        )

    def set(self, **values: object) -> None:
        """Change the row of the release."""
        self.release = replace(self.release, **values)  # type: ignore[arg-type]

    async def look(self) -> None:
        """What a second brings: a heartbeat, and a look at it."""
        self.set(heartbeat=self.release.heartbeat + 1)
        self.now += 1
        await self.known.look()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client

    def run(self, work: Callable[["Asker"], Awaitable[None]]) -> None:
        """Do the work with a client of the endpoint, which has seen the release beat twice."""

        async def main() -> None:
            await self.look()
            await self.look()
            async with self.client() as client:
                await work(Asker(client))

        asyncio.run(main())

    def _read(self) -> list[Release]:
        return [self.release] if self.is_running else []

    async def _open(self, release: Release) -> Version:
        return self.candidate

    def _ticks(self) -> float:
        return self.now


@dataclass
class Asker:
    """Asks the endpoint."""

    client: httpx.AsyncClient

    async def ask(
        self, *numbers: float, key: str = "k", path: str = "/v1/models/sizes:predict"
    ) -> httpx.Response:
        body = {"inputs": [{"x": number} for number in numbers or (3.0,)]}
        return await self.client.post(path, json=body, headers={"X-API-Key": key})

    async def version(self, key: str = "k") -> str:
        """Who answers this key."""
        response = await self.ask(key=key)
        assert response.status_code == 200
        return str(response.json()["version"])


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def store(sqlite_records: Records) -> ReleaseStore:
    return ReleaseStore(sqlite_records)
