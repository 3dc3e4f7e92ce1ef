"""The addresses of the server.

In: a `Service`. Out: a FastAPI application: ``/v1`` for images, ``/v2`` (`housetrain.serve.open_inference`) for arrays,
health, metrics, documentation. Does not know: sockets, tokens, how images become predictions.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import FastAPI, Query
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from housetrain.serve import open_inference
from housetrain.serve.bodies import UNNAMED
from housetrain.serve.docs_page import docs_page
from housetrain.serve.exchange import Error, body_of, must_be_ready, problems, rules_of
from housetrain.serve.guard import response_of
from housetrain.serve.limits import Problem
from housetrain.serve.service import Service


class Named(BaseModel):
    """A class and its probability."""

    label: str
    probability: float = Field(ge=0, le=1)


class PredictionOut(BaseModel):
    """What the model predicts for one image; see `housetrain.inference.prediction.Prediction`."""

    image: str
    label: str | None
    probability: float | None
    top: list[Named]
    margin: float | None
    unsure: bool | None
    novel: bool | None
    seen: str | None
    error: str | None
    prediction_set: list[str] | None = None


class PredictionsOut(BaseModel):
    """The predictions of a request, in the order of its images."""

    model: str
    predictions: list[PredictionOut]


class ModelOut(BaseModel):
    """A model and its input."""

    name: str
    classes: list[str]
    input: dict[str, Any]
    engine: str
    threshold: float
    why_unsure: str
    model_sha256: str | None
    loaded: str


class ModelsOut(BaseModel):
    """Every model; the first is the default."""

    models: list[ModelOut]


_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"image": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                }
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["images"],
                    "properties": {
                        "images": {
                            "type": "array",
                            "items": {
                                "anyOf": [
                                    {"type": "string", "format": "byte"},
                                    {
                                        "type": "object",
                                        "required": ["data"],
                                        "properties": {
                                            "name": {"type": "string"},
                                            "data": {"type": "string", "format": "byte"},
                                        },
                                    },
                                ]
                            },
                        }
                    },
                }
            },
        },
    }
}


def create_app(service: Service) -> FastAPI:
    """Return the application."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.open()
        try:
            yield
        finally:
            await service.close()

    app = FastAPI(
        title="housetrain",
        version=importlib.metadata.version("housetrain"),
        description="Classifies images with the models of housetrain.",
        docs_url=None,  # FastAPI's page loads scripts from another server
        redoc_url=None,
        lifespan=lifespan,
        max_body_size=service.limits.body_bytes,
        redirect_slashes=False,
    )
    _add_errors(app)
    _add_health(app, service)
    _add_predict(app, service)
    open_inference.add(app, service)
    return app


def _add_predict(app: FastAPI, service: Service) -> None:
    @app.post(
        "/v1/predict",
        response_model=PredictionsOut,
        responses=problems(404, 408, 413, 422, 503),
        openapi_extra=_BODY,
        summary="Classify images",
    )
    async def predict(
        request: Request,
        model: Annotated[str | None, Query(description="Name of the model; by default the first.")] = None,
        top: Annotated[int | None, Query(description="Classes per image; by default all.", ge=1)] = None,
        set_level: Annotated[
            float | None, Query(alias="set", description="Level of prediction sets.", ge=0.5, le=0.99)
        ] = None,
        accept: Annotated[list[str] | None, Query(description="CLASS=PROBABILITY: unsure below it.")] = None,
    ) -> Response:
        """Classify the images of the body: an encoded image, a form with files, or JSON with base64.

        The status is 422 where no image could be read; of several, those that could not have an `error`.
        """
        with service.models.use(model) as served, service.admission.enter() as share:
            rules = rules_of(served.predictor, set_level, accept)
            body = await body_of(request, service, share)
            sent = await service.images_of(body, request.headers.get("content-type", ""))
            found = await service.predict(served, sent, top, share, rules)
            if all(one.error is not None for one in found):
                reasons = dict.fromkeys(
                    f"{one.error}" if one.image == UNNAMED else f"{one.image}: {one.error}" for one in found
                )
                raise Problem(422, "; ".join(reasons))
            return _json({"model": served.name, "predictions": [one.to_json() for one in found]})

    @app.get("/v1/models", response_model=ModelsOut, responses=problems(), summary="List the models")
    async def models() -> Response:
        return _json({"models": [one.describe() for one in service.models]})


def _add_health(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", summary="Whether the server runs")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", responses={503: {"model": Error}}, summary="Whether it takes requests")
    async def readyz() -> dict[str, str]:
        must_be_ready(service)
        return {"status": "ready"}

    @app.get("/metrics", response_class=Response, responses=problems(), summary="Counters, for Prometheus")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/docs", response_class=HTMLResponse, include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(
            docs_page(app.openapi()),
            headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"},
        )


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> JSONResponse:
        return response_of(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        found = (f"{'.'.join(map(str, one['loc'][1:])) or one['loc'][0]}: {one['msg']}" for one in error.errors())
        return response_of(Problem(422, "; ".join(found)))

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> JSONResponse:
        response = response_of(Problem(error.status_code, error.detail))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> JSONResponse:
        return response_of(Problem(500, "The server failed. Its log says why."))


def _json(value: Any) -> Response:
    return Response(json.dumps(value, allow_nan=False, separators=(",", ":")), media_type="application/json")
