"""The HTTP endpoint as a plain ASGI app: it reads requests, asks models, and explains refusals.

It knows no cluster and no weights: it is handed models that can be asked.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from aiplat.registry.config import check_name
from aiplat.serving import schemas
from aiplat.serving.asking import respond
from aiplat.serving.config import ServingConfig
from aiplat.serving.fields import nearest
from aiplat.serving.gate import Gate, OpenGate, admission
from aiplat.serving.metering.meter import Meter
from aiplat.serving.metering.usage import UsageRecord
from aiplat.serving.middleware import BodyLimit, Envelope
from aiplat.serving.open_inference.routes import open_inference
from aiplat.serving.problems import ProblemError, answer_problem
from aiplat.serving.releases.routing import OneVersion, Router
from aiplat.serving.requests import read_question
from aiplat.serving.served import ServedModel

_PREDICT = ":predict"

_Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(
    models: Mapping[str, ServedModel],
    config: ServingConfig,
    echo_request_id: bool = True,
    gate: Gate | None = None,
    record: Callable[[UsageRecord], None] | None = None,
    router: Router | None = None,
) -> FastAPI:
    """The endpoint over `models`, by name.

    echo_request_id: whether answers carry `X-Request-Id`; false where a proxy in front adds it.
    gate: whom it answers; None: everybody. Health, pages and the schema are for everybody.
    record: keeps what each request used, before its answer leaves.
    router: picks the version that answers; None: there is one of each model.
    """
    gate, router = gate or OpenGate(), router or OneVersion()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with gate, router:
            yield

    app = FastAPI(
        title="aiplat",
        summary="Models served by aiplat",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        responses=schemas.wrong_request(),
    )
    app.add_middleware(BodyLimit, max_bytes=config.max_body_bytes, max_s=config.request_timeout_s)
    if record is not None:
        app.add_middleware(Meter, record=record)
    app.add_middleware(Envelope, echo_request_id=echo_request_id)
    app.add_exception_handler(ProblemError, answer_problem)
    app.add_exception_handler(HTTPException, answer_problem)
    _add_pages(app)
    _add_health(app, models)
    for name, model in models.items():
        _add_predict(app, name, model, config, gate, router)
    app.include_router(open_inference(models, config, gate, router))
    # After the models' own paths, which it would hide.
    _add_catalog(app, models, gate)
    return app


def _add_predict(
    app: FastAPI,
    name: str,
    model: ServedModel,
    config: ServingConfig,
    gate: Gate,
    router: Router,
) -> None:
    info = model.info
    check_name(name)
    app.add_api_route(
        f"/v1/models/{name}{_PREDICT}",
        _predict_endpoint(model, config, router),
        methods=["POST"],
        operation_id=f"predict_{name}",
        summary=f"Ask {name}",
        description=f"Version {info.version}, trained on {info.dataset or 'unnamed data'}.",
        tags=["predict"],
        dependencies=admission(gate, name),
        responses=schemas.refusals(gate.needs_key),
        openapi_extra=schemas.predict_operation(info, config),
        response_class=JSONResponse,
    )


def _predict_endpoint(model: ServedModel, config: ServingConfig, router: Router) -> _Endpoint:
    async def predict(request: Request) -> Response:
        return await respond(request, model, config, read_question, router)

    return predict


def _add_catalog(app: FastAPI, models: Mapping[str, ServedModel], gate: Gate) -> None:
    # Only those who are let in learn what there is.
    guarded: dict[str, Any] = {
        "dependencies": admission(gate),
        "responses": schemas.refusals(gate.needs_key),
    }

    def unknown(name: str) -> ProblemError:
        return ProblemError(404, f"there is no model {name!r} here{nearest(name, models)}")

    @app.get("/v1/models", tags=["models"], **guarded)
    async def list_models() -> schemas.ModelList:
        """The models of this endpoint."""
        return schemas.ModelList(models=[schemas.summary(model.info) for model in models.values()])

    @app.get("/v1/models/{name}", tags=["models"], **guarded)
    async def describe_model(name: str) -> schemas.ModelDescription:
        """What a model takes, answers and was measured at."""
        served = name.removesuffix(_PREDICT)
        if served != name and served in models:
            raise HTTPException(405, headers={"Allow": "POST"})
        if name not in models:
            raise unknown(name)
        return schemas.description(models[name].info)

    @app.post(f"/v1/models/{{name}}{_PREDICT}", include_in_schema=False, **guarded)
    async def predict_unknown(name: str) -> None:
        raise unknown(name)


def _add_health(app: FastAPI, models: Mapping[str, ServedModel]) -> None:
    @app.get("/healthz", tags=["health"])
    async def healthz() -> schemas.Health:
        """Whether this process is alive."""
        return schemas.Health(status="ok")

    @app.get("/readyz", tags=["health"], responses={503: {"model": schemas.Health}})
    async def readyz(response: Response) -> schemas.Health:
        """Whether every model would answer a request now."""
        states = await asyncio.gather(*(model.ready() for model in models.values()))
        ready = all(states)
        response.status_code = 200 if ready else 503
        return schemas.Health(
            status="ready" if ready else "not ready", models=dict(zip(models, states, strict=True))
        )


def _add_pages(app: FastAPI) -> None:
    page = resources.files("aiplat.serving").joinpath("docs.html").read_text("utf-8")

    @app.get("/", include_in_schema=False)
    async def index() -> RedirectResponse:
        return RedirectResponse("docs")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page)
