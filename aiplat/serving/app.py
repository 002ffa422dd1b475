"""The HTTP endpoint as a plain ASGI app: it reads requests, asks models, and explains refusals.

It knows no cluster and no weights: it is handed models that can be asked.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from aiplat.registry.config import check_name
from aiplat.serving import schemas
from aiplat.serving.config import ServingConfig
from aiplat.serving.fields import nearest
from aiplat.serving.gate import Gate, OpenGate, admission
from aiplat.serving.middleware import BodyLimit, Envelope
from aiplat.serving.problems import FieldProblem, ProblemError, answer_problem, invalid_input
from aiplat.serving.requests import read_rows
from aiplat.serving.served import Answers, Fault, OverloadError, RowsError, ServedModel

_PREDICT = ":predict"

_Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(
    models: Mapping[str, ServedModel],
    config: ServingConfig,
    echo_request_id: bool = True,
    gate: Gate | None = None,
) -> FastAPI:
    """The endpoint over `models`, by name.

    echo_request_id: whether answers carry `X-Request-Id`; false where a proxy in front adds it.
    gate: whom it answers; None: everybody. Health, pages and the schema are for everybody.
    """
    gate = gate or OpenGate()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with gate:
            yield

    app = FastAPI(
        title="aiplat",
        summary="Models served by aiplat",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(BodyLimit, max_bytes=config.max_body_bytes)
    app.add_middleware(Envelope, echo_request_id=echo_request_id)
    app.add_exception_handler(ProblemError, answer_problem)
    app.add_exception_handler(HTTPException, answer_problem)
    _add_pages(app)
    _add_health(app, models)
    for name, model in models.items():
        _add_predict(app, name, model, config, gate)
    # After the models' own paths, which it would hide.
    _add_catalog(app, models, gate)
    return app


def _add_predict(
    app: FastAPI, name: str, model: ServedModel, config: ServingConfig, gate: Gate
) -> None:
    info = model.info
    check_name(name)
    app.add_api_route(
        f"/v1/models/{name}{_PREDICT}",
        _predict_endpoint(name, model, config),
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


def _predict_endpoint(name: str, model: ServedModel, config: ServingConfig) -> _Endpoint:
    async def predict(request: Request) -> Response:
        rows = await read_rows(request, model.info.inputs, config)
        try:
            answers = await asyncio.wait_for(model.predict(rows), config.request_timeout_s)
        except RowsError as error:
            raise _faulty(error.faults) from error
        except OverloadError as error:
            headers = {"Retry-After": str(error.retry_after_s)}
            raise ProblemError(503, str(error), headers=headers) from error
        except TimeoutError as error:
            seconds = f"{config.request_timeout_s:g} s (serve.request_timeout_s)"
            raise ProblemError(504, f"{name} did not answer within {seconds}") from error
        return _answer(name, answers)

    return predict


def _answer(name: str, answers: Answers) -> Response:
    body = {"model": name, "version": answers.version, "predictions": list(answers.rows)}
    try:
        return JSONResponse(body, headers={"X-Model-Version": answers.version})
    except ValueError as error:
        # JSON has no word for what a model computes from inputs that overflow it.
        fault = Fault(
            None, "leads to an answer that is not finite: the model cannot take its values"
        )
        wild = {index: fault for index, row in enumerate(answers.rows) if not _finite(row)}
        if not wild:
            raise
        raise _faulty(wild) from error


def _finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(_finite(item) for item in value.values())
    return not isinstance(value, (list, tuple)) or all(_finite(item) for item in value)


def _faulty(faults: Mapping[int, Fault]) -> ProblemError:
    return invalid_input(
        [
            FieldProblem(
                f"inputs[{row}].{fault.field}" if fault.field else f"inputs[{row}]", fault.detail
            )
            for row, fault in faults.items()
        ]
    )


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
