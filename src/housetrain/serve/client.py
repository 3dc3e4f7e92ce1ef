"""The client of `housetrain serve`: the same predictions as from a bundle, computed by a server.

In: the address of a server, then images. Out: a `Prediction` each, in order. Does not know: models, how the server
works. It needs none of the server's libraries.

    housetrain predict http://127.0.0.1:8000 photo.jpg holiday/
    housetrain predict 'http://127.0.0.1:8000?model=dogs' photo.jpg
"""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlencode, urlsplit

from housetrain.errors import DecodeError, HousetrainError
from housetrain.images.input_spec import InputSpec
from housetrain.inference.engine import stream
from housetrain.inference.inputs import Input, name_of
from housetrain.inference.prediction import Prediction
from housetrain.serve.limits import TOKEN
from housetrain.system.regular_files import read_bytes

_PARALLEL = 16  # requests: the server batches them
_TIMEOUT_S = 60.0
_PATIENCE_S = 60.0  # with a server whose queue is full
_MOST_BYTES = 64 << 20


class RemotePredictor:
    """A model on a server, with what `housetrain.inference.batch_predict.predict_into` needs. A context manager.

    Args:
        url: ``http://HOST:PORT``, with ``?model=NAME`` for another model than the first.

    Raises:
        HousetrainError: It is no such address, the server does not answer, or it has no such model.
    """

    def __init__(self, url: str) -> None:
        self._url, self._name = _checked(url)
        self._local = threading.local()
        self.set_level: float | None = None
        self._rules: list[tuple[str, str]] = []
        listed = self._ask("GET", "/v1/models", [])["models"]
        found = [one for one in listed if self._name in ("", one["name"])]
        if not found:
            names = ", ".join(str(one["name"]) for one in listed)
            raise HousetrainError("The server has no such model", expected=names, model=self._name)
        self._name = str(found[0]["name"])
        self.classes = tuple(map(str, found[0]["classes"]))
        self.spec = InputSpec.from_json(found[0]["input"])
        self.why_unsure = str(found[0].get("why_unsure", ""))
        self.about: dict[str, Any] = {"model_sha256": found[0]["model_sha256"], "engine": found[0]["engine"]}

    def with_rules(
        self, *, set_level: float | None = None, accept: Mapping[str, float] | None = None
    ) -> RemotePredictor:
        """Ask the server for prediction sets, and for other thresholds. See `Predictor.with_rules`."""
        if set_level is not None or accept:
            self.set_level = set_level
            self._rules = [*([("set", f"{set_level:g}")] if set_level is not None else [])]
            self._rules += [("accept", f"{name}={least:g}") for name, least in (accept or {}).items()]
            self.about["rules"] = {"set": set_level, "accept": dict(accept or {})}
        return self

    def __enter__(self) -> RemotePredictor:
        return self

    def __exit__(self, *error: object) -> None:
        """Connections end with their threads."""

    def predict_many(
        self, images: Iterable[Input], *, batch_size: int = 0, workers: int | None = None, top: int | None = None
    ) -> Iterator[Prediction]:
        """Yield a prediction for each image, in order. See `Predictor.predict_many`.

        Args:
            images: Paths.
            batch_size: Ignored: the server batches.
            workers: Requests at a time; 16 by default.
            top: Number of classes in `Prediction.top`; all by default.

        Raises:
            HousetrainError: The server does not answer, or refuses requests.
        """
        query = [("model", self._name), *([] if top is None else [("top", str(top))]), *self._rules]
        parallel = workers or _PARALLEL
        with closing(stream(lambda image: self._predict(image, query), images, parallel=parallel)) as found:
            yield from found

    def _predict(self, image: Input, query: list[tuple[str, str]]) -> Prediction:
        name = name_of(image)
        try:
            data = image if isinstance(image, bytes) else read_bytes(Path(name))
            answer = self._ask("POST", "/v1/predict", query, data)
        except DecodeError as error:
            return Prediction.failed(name, error.reason)
        try:
            return Prediction.from_json(answer["predictions"][0], image=name)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise _foreign(self._url) from error

    def _ask(self, method: str, path: str, query: list[tuple[str, str]], body: bytes | None = None) -> Any:
        """Return the value of the response.

        Raises:
            DecodeError: The server cannot read the image, or it is too large for it.
            HousetrainError: It does not answer, or refuses.
        """
        target = f"{self._url.path.rstrip('/')}{path}?{urlencode(query)}"
        limit = time.monotonic() + _PATIENCE_S
        while True:
            status, wait, data = self._exchange(method, target, body)
            if status != 503 or time.monotonic() + wait > limit:
                break
            time.sleep(wait)
        try:
            value = json.loads(data)
            reason = "" if status == 200 else str(value["error"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _foreign(self._url) from error
        if status in (413, 422) and body is not None:
            raise DecodeError(reason)
        if status != 200:
            do = f"set {TOKEN} to the token of the server" if status == 401 else ""
            raise HousetrainError("The server refuses the request", do=do, status=status, reason=reason)
        return value

    def _exchange(self, method: str, target: str, body: bytes | None) -> tuple[int, float, bytes]:
        """Send a request on this thread's connection, once more if that was closed meanwhile."""
        headers = {"Authorization": f"Bearer {token}"} if (token := os.environ.get(TOKEN)) else {}
        for attempt in (1, 2):
            connection: Any = getattr(self._local, "connection", None)
            fresh = connection is None
            if fresh:
                kind = http.client.HTTPSConnection if self._url.scheme == "https" else http.client.HTTPConnection
                connection = self._local.connection = kind(self._url.netloc, timeout=_TIMEOUT_S)
            try:
                connection.request(method, target, body, headers)
                response = connection.getresponse()
                wait = response.headers.get("Retry-After", "1")
                return response.status, float(wait) if wait.isdigit() else 1.0, response.read(_MOST_BYTES)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                self._local.connection = None
                if fresh or attempt == 2:
                    raise HousetrainError(
                        "The server does not answer",
                        do="start it: housetrain serve BUNDLE",
                        url=self._url.geturl(),
                        reason=str(error) or type(error).__name__,
                    ) from error
        raise AssertionError


def _checked(url: str) -> tuple[SplitResult, str]:
    """Return the parts of an address, and the name of the model in it."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    try:
        usable = bool(parts.hostname) and (parts.port or 1) > 0 and parts.username is None
    except ValueError:
        usable = False
    if parts.scheme not in ("http", "https") or not usable or set(query) - {"model"}:
        raise HousetrainError("Invalid address of a server", expected="http://HOST:PORT or http://HOST:PORT?model=NAME")
    return parts._replace(query="", fragment=""), query.get("model", [""])[0]


def _foreign(url: SplitResult) -> HousetrainError:
    return HousetrainError(
        "The answer is not one of housetrain", expected="the address of `housetrain serve`", url=url.geturl()
    )
