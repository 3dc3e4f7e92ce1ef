"""The Open Inference Protocol (KServe v2) over HTTP, for prepared images as arrays.

In: a FastAPI application and a `Service`. Out: the application with the addresses below ``/v2``. Does not know: encoded
images. Specification: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from __future__ import annotations

import importlib.metadata
import json
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from housetrain.serve.bodies import INPUT, OUTPUT
from housetrain.serve.exchange import body_of, must_be_ready, problems
from housetrain.serve.limits import Problem
from housetrain.serve.models import ServedModel
from housetrain.serve.service import Service

_LENGTH = "Inference-Header-Content-Length"
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["inputs"],
                    "properties": {
                        "id": {"type": "string"},
                        "inputs": {
                            "type": "array",
                            "minItems": 1,
                            "maxItems": 1,
                            "items": {
                                "type": "object",
                                "required": ["name", "shape", "datatype"],
                                "properties": {
                                    "name": {"const": INPUT},
                                    "shape": {"type": "array", "items": {"type": "integer"}},
                                    "datatype": {"const": "UINT8"},
                                    "data": {"type": "array"},
                                },
                            },
                        },
                    },
                }
            }
        },
    }
}


def add(app: FastAPI, service: Service) -> None:
    """Add the addresses of the protocol."""

    @app.get("/v2", responses=problems(), summary="The server, for the Open Inference Protocol")
    async def server() -> dict[str, Any]:
        return {
            "name": "housetrain",
            "version": importlib.metadata.version("housetrain"),
            "extensions": ["binary_tensor_data"],
        }

    @app.get("/v2/health/live", summary="Whether the server runs")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/v2/health/ready", responses=problems(503), summary="Whether it takes requests")
    async def ready() -> dict[str, bool]:
        must_be_ready(service)
        return {"ready": True}

    @app.get("/v2/models/{name}", responses=problems(404), summary="A model's input and output")
    async def metadata(name: str) -> dict[str, Any]:
        with service.models.use(name) as model:
            return _metadata(model)

    @app.get("/v2/models/{name}/ready", responses=problems(404, 503), summary="Whether a model takes requests")
    async def model_ready(name: str) -> dict[str, Any]:
        must_be_ready(service)
        with service.models.use(name) as model:
            return {"name": model.name, "ready": True}

    @app.post(
        "/v2/models/{name}/infer",
        responses=problems(404, 408, 413, 422, 503),
        openapi_extra=_BODY,
        summary="Classify prepared images",
    )
    async def infer(name: str, request: Request) -> Response:
        """Return the probabilities of prepared images: uint8 of the model's input size, in RGB order."""
        with service.models.use(name) as model, service.admission.enter() as share:
            length = request.headers.get(_LENGTH, "")
            if length and not (length.isascii() and length.isdigit() and len(length) < 12):
                raise Problem(422, f"{_LENGTH} is not a number.")
            body = await body_of(request, service, share)
            asked, given = await service.infer(model, body, int(length) if length else None, share)
            output: dict[str, Any] = {"name": OUTPUT, "datatype": "FP32", "shape": list(given.shape)}
            answer = {"model_name": model.name, "outputs": [output], **({"id": asked.id} if asked.id else {})}
            if not asked.binary:
                output["data"] = [float(value) for value in given.reshape(-1)]
                return JSONResponse(answer)
            output["parameters"] = {"binary_data_size": given.nbytes}
            head = json.dumps(answer).encode("ascii")
            content = head + given.astype("<f4", copy=False).tobytes()
            return Response(content, media_type="application/octet-stream", headers={_LENGTH: str(len(head))})


def _metadata(model: ServedModel) -> dict[str, Any]:
    shape, classes = model.predictor.spec.shape, model.predictor.classes
    return {
        "name": model.name,
        "platform": model.predictor.engine.name,
        "versions": [],
        "inputs": [{"name": INPUT, "datatype": "UINT8", "shape": [-1, *shape]}],
        "outputs": [{"name": OUTPUT, "datatype": "FP32", "shape": [-1, len(classes)]}],
        "parameters": {"classes": list(classes)},
    }
