"""What stands before every request: the token, and the figures."""

import hmac
import time

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cde_retrievers.serving.metrics import Metrics
from cde_retrievers.serving.wire import error_body

HEALTH = "/health"
EMBEDDINGS = "/v1/embeddings"


def problem(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    """Return an answer that says what is wrong, in OpenAI's form."""
    return Response(error_body(status, code, message), status, headers, media_type="application/json")


class BearerToken:
    """Answers requests without the token by status 401, all but those for `/health`.

    Args:
        app: the application behind it.
        token: what clients must send, as OpenAI's send their API key.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] == "http" and scope["path"] != HEALTH and not self._is_known(Headers(scope=scope)):
            refusal = problem(
                401,
                "invalid_api_key",
                "this server needs its token; send it as OpenAI's API key (Authorization: Bearer TOKEN)",
                {"WWW-Authenticate": "Bearer"},
            )
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_known(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return hmac.compare_digest(token.strip().encode("latin-1"), self._expected) and scheme.lower() == "bearer"


class Measured:
    """Counts the requests for embeddings by status, and their time.

    Args:
        app: the application behind it.
        metrics: where to count.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, and look at the status of its answer."""
        if scope["type"] != "http" or scope["path"] != EMBEDDINGS:
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        answered = False

        def count(status: int) -> None:
            nonlocal answered
            answered = True
            self._metrics.requests.labels(str(status)).inc()
            self._metrics.seconds.observe(time.perf_counter() - began)

        async def seen(message: Message) -> None:
            if message["type"] == "http.response.start":
                count(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, seen)
        except Exception:
            if not answered:  # the answer to a fault of our own is sent further out
                count(500)
            raise
