"""The addresses of the Open Inference Protocol over the models of an endpoint."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from aiplat.serving.asking import respond
from aiplat.serving.config import ServingConfig
from aiplat.serving.fields import nearest
from aiplat.serving.gate import Gate, admission
from aiplat.serving.open_inference import metadata
from aiplat.serving.open_inference.questions import read_question
from aiplat.serving.problems import OPEN_INFERENCE, ProblemError
from aiplat.serving.releases.routing import OneVersion, Router
from aiplat.serving.schemas import refusals
from aiplat.serving.served import ServedModel

_Find = Callable[..., ServedModel]


def open_inference(
    models: Mapping[str, ServedModel], config: ServingConfig, gate: Gate, router: Router
) -> APIRouter:
    """The routes of the protocol.

    gate: whom models are shown to and answer. router: picks the version that answers, where a
    request names none.
    """
    routes = APIRouter(prefix=OPEN_INFERENCE, tags=["open inference protocol"])
    _add_server(routes, models)

    def find(name: str) -> ServedModel:
        if name not in models:
            raise ProblemError(404, f"there is no model {name!r} here{nearest(name, models)}")
        return models[name]

    def find_version(name: str, version: str) -> ServedModel:
        found = find(name)
        if version != found.info.version:
            raise ProblemError(
                404, f"version {found.info.version} of {name} is served here, not {version!r}"
            )
        return found

    guarded = APIRouter(dependencies=list(admission(gate)), responses=refusals(gate.needs_key))
    _add_model(guarded, "/models/{name}", find, config, router)
    _add_model(guarded, "/models/{name}/versions/{version}", find_version, config, OneVersion())
    routes.include_router(guarded)
    return routes


def _add_server(routes: APIRouter, models: Mapping[str, ServedModel]) -> None:
    @routes.get("")
    async def describe_server() -> metadata.ServerMetadata:
        """What this server is and which extensions of the protocol it has."""
        return metadata.server_metadata()

    @routes.get("/health/live")
    async def live() -> metadata.ServerLive:
        """Whether this process is alive."""
        return metadata.ServerLive(live=True)

    @routes.get("/health/ready", responses={503: {"model": metadata.ServerReady}})
    async def ready(response: Response) -> metadata.ServerReady:
        """Whether every model would answer a request now."""
        is_ready = all(await asyncio.gather(*(model.ready() for model in models.values())))
        response.status_code = 200 if is_ready else 503
        return metadata.ServerReady(ready=is_ready)


def _add_model(
    routes: APIRouter, path: str, find: _Find, config: ServingConfig, router: Router
) -> None:
    """The routes of a model; `find` takes what the path names. It raises ProblemError."""
    found = Annotated[ServedModel, Depends(find)]

    @routes.get(path)
    async def describe(model: found) -> metadata.ModelMetadata:
        """What a model takes and answers, as tensors."""
        return metadata.model_metadata(model.info)

    @routes.get(f"{path}/ready", responses={503: {"model": metadata.ModelReady}})
    async def ready(model: found, response: Response) -> metadata.ModelReady:
        """Whether a model would answer a request now."""
        is_ready = await model.ready()
        response.status_code = 200 if is_ready else 503
        return metadata.ModelReady(name=model.info.name, ready=is_ready)

    @routes.post(f"{path}/infer", openapi_extra=metadata.infer_operation(), response_class=Response)
    async def infer(request: Request, model: found) -> Response:
        """Ask a model with tensors: a row of each is a row of the question."""
        return await respond(request, model, config, read_question, router)
