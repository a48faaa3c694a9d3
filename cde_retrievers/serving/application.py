"""The application: OpenAI's `/v1/embeddings` and `/v1/models`, `/health` and `/metrics`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.errors import CDEError, RequestError
from cde_retrievers.serving.contexts import SIDES_BEGIN, ContextDirectory
from cde_retrievers.serving.metrics import Metrics
from cde_retrievers.serving.middleware import EMBEDDINGS, HEALTH, BearerToken, Measured, problem
from cde_retrievers.serving.service import EmbeddingService
from cde_retrievers.serving.settings import ServingSettings
from cde_retrievers.serving.wire import ROLES, parts_of_name

_CLIENT_GONE = 499  # nobody reads it: for the metrics alone
_METRICS_FORMAT = "text/plain; version=0.0.4; charset=utf-8"


def create_application(
    encoder: ContextualEncoder, contexts: ContextDirectory, settings: ServingSettings, token: str | None = None
) -> Starlette:
    """Return the application, for any ASGI server; texts are embedded from its start to its stop.

    Args:
        encoder: the model that fitted the contexts.
        contexts: the contexts, whose names are the models' names.
        settings: the limits.
        token: what clients must send; None to serve all.
    """
    endpoints = _Endpoints(encoder, contexts, settings)
    middleware = [Middleware(Measured, metrics=endpoints.metrics)]
    if token is not None:
        middleware.append(Middleware(BearerToken, token=token))
    application = Starlette(
        routes=[
            Route(EMBEDDINGS, endpoints.embeddings, methods=["POST"]),
            Route("/v1/models", endpoints.models),
            Route("/v1/models/{name:path}", endpoints.model),
            Route(HEALTH, endpoints.health),
            Route("/metrics", endpoints.figures),
        ],
        middleware=middleware,
        exception_handlers=_HANDLERS,
        lifespan=endpoints.lifespan,
    )
    application.router.redirect_slashes = False  # it would redirect to whatever host the client names
    return application


class _Endpoints:
    def __init__(self, encoder: ContextualEncoder, contexts: ContextDirectory, settings: ServingSettings) -> None:
        self.metrics = Metrics()
        self._contexts = contexts
        self._settings = settings
        self._make_service: Callable[[], EmbeddingService] = lambda: EmbeddingService(
            encoder, contexts, settings, self.metrics
        )
        self._service: EmbeddingService | None = None

    @asynccontextmanager
    async def lifespan(self, application: Starlette) -> AsyncIterator[None]:
        self._service = self._make_service()
        try:
            yield
        finally:
            await asyncio.to_thread(self._service.close)

    async def embeddings(self, request: Request) -> Response:
        assert self._service is not None
        with self._service.admitted():
            _check_kind(request)
            body = await _body(request, self._settings)
            found = await self._service.answer(body, lambda: _gone(request))
        if found is None:
            return Response(status_code=_CLIENT_GONE)
        headers = {"x-cde-context": found.context} | ({"x-cde-cut-texts": str(found.cut)} if found.cut else {})
        return Response(found.body, headers=headers, media_type="application/json")

    async def models(self, request: Request) -> Response:
        contexts = await self._all()
        data = [_model(f"{alias}{SIDES_BEGIN}{role}", context) for alias, context in contexts.items() for role in ROLES]
        return JSONResponse({"object": "list", "data": data})

    async def model(self, request: Request) -> Response:
        assert self._service is not None
        name = request.path_params["name"]
        return JSONResponse(_model(name, await asyncio.to_thread(self._service.context, parts_of_name(name)[0])))

    async def health(self, request: Request) -> Response:
        runs = self._service is not None and self._service.is_running
        return JSONResponse({"status": "ok" if runs else "stopped"}, HTTPStatus.OK if runs else 503)

    async def figures(self, request: Request) -> Response:
        return Response(self.metrics.page(), headers={"content-type": _METRICS_FORMAT})

    async def _all(self) -> dict[str, CorpusContext]:
        try:
            return await asyncio.to_thread(self._contexts.all)
        except CDEError as error:
            raise RequestError(503, "context_unavailable", "the contexts cannot be listed at present") from error


def _model(name: str, context: CorpusContext) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "cde-retrievers",
        "context": context.fingerprint,
    }


def _check_kind(request: Request) -> None:
    """Refuse a body that is not plain JSON; a web page cannot send that to another site unasked."""
    kind, *parameters = (part.strip().lower() for part in request.headers.get("content-type", "").split(";"))
    charsets = {part.removeprefix("charset=").strip(' "') for part in parameters if part.startswith("charset=")}
    if kind != "application/json" or not charsets <= {"utf-8", "utf8"}:
        raise RequestError(
            415, "unsupported_media_type", "the body must be JSON in UTF-8; send Content-Type: application/json"
        )
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestError(415, "unsupported_media_type", "compressed bodies are not read; send it as it is")


async def _body(request: Request, settings: ServingSettings) -> bytes:
    """Read the body, and no more of it than is accepted."""
    most = settings.max_body_bytes
    too_large = RequestError(
        413, "request_too_large", f"at most {most:,} bytes are accepted in one request; send fewer texts at a time"
    )
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > most:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(settings.read_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise too_large
    except TimeoutError as error:
        raise RequestError(
            408, "request_timeout", f"the request did not arrive within {settings.read_seconds} seconds; send it again"
        ) from error
    return bytes(body)


async def _gone(request: Request) -> None:
    """Return when the client has closed the connection; its body was read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    headers = {"Retry-After": "1"} if error.status == HTTPStatus.TOO_MANY_REQUESTS else None
    return problem(error.status, error.code, str(error), headers)


async def _not_served(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = "method_not_allowed" if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED else "not_found"
    message = f"{request.method} {request.url.path[:100]} is not served; POST {EMBEDDINGS} and GET /v1/models are"
    return problem(error.status_code, code, message, dict(error.headers or {}))


async def _client_gone(request: Request, error: Exception) -> Response:
    return Response(status_code=_CLIENT_GONE)


async def _failed(request: Request, error: Exception) -> Response:
    return problem(500, "internal_error", "the texts could not be embedded; the server's log says why")


_HANDLERS: dict[Any, Any] = {
    RequestError: _refused,
    HTTPException: _not_served,
    ClientDisconnect: _client_gone,
    Exception: _failed,
}
