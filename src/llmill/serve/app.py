"""The routes: the interface under `/v1`, and a page for a conversation at `/`."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import re
from collections.abc import AsyncIterator, Callable, Mapping
from importlib import resources
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from llmill.serve import errors, requests
from llmill.serve.errors import ApiError
from llmill.serve.limits import Limits
from llmill.serve.replies import ChatReply, CompletionReply, Pending, Stream, nobody, whole
from llmill.serve.served import Order, Served, chat_orders, completion_orders
from llmill.serve.worker import Worker

BODY_SECONDS = 30  # to send a request
IGNORED = "Llmill-Ignored"  # the header that names fields without effect
DISREGARDED = 8  # multiple of the limit that is read of a larger body before it is refused


def create(
    models: Mapping[str, Served],
    limits: Limits,
    key: str | None = None,
    hosts: frozenset[str] | None = None,
) -> FastAPI:
    """Create the application; its worker, `app.state.worker`, runs as long as it does.

    With a key, every request except that for the page must have it. With hosts, a request must name
    one of them; a page of another server whose name was pointed at this machine does not.
    """
    worker = Worker(models.values(), limits)

    @contextlib.asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        worker.start()
        yield
        worker.stop()

    app = FastAPI(openapi_url=None, lifespan=running, dependencies=[Depends(known_host(hosts))])
    app.state.worker = worker
    content, policy = _page()

    @app.get("/", response_class=HTMLResponse)
    async def page() -> HTMLResponse:
        return HTMLResponse(content, headers={"Content-Security-Policy": policy})

    v1 = APIRouter(prefix="/v1", dependencies=[Depends(has_key(key))])
    _model_routes(v1, models)
    _text_routes(v1, models, limits, worker)
    app.include_router(v1)
    _error_handlers(app)
    return app


def _model_routes(v1: APIRouter, models: Mapping[str, Served]) -> None:
    """Add the routes that list what is served."""

    @v1.get("/models")
    async def every_model() -> dict[str, Any]:
        return {"object": "list", "data": [model.card() for model in models.values()]}

    @v1.get("/models/{name:path}")
    async def one_model(name: str) -> dict[str, Any]:
        return _served(models, name).card()


def _text_routes(
    v1: APIRouter, models: Mapping[str, Served], limits: Limits, worker: Worker
) -> None:
    """Add the routes that ask for a text. A request is read as orders, which the worker fills."""

    @v1.post("/completions")
    async def completions(request: Request) -> Response:
        body, order_list = await accept(request, requests.Completion, completion_orders)
        return await answered(request, body, order_list, CompletionReply(order_list))

    @v1.post("/chat/completions")
    async def chat_completions(request: Request) -> Response:
        body, order_list = await accept(request, requests.Chat, chat_orders)
        return await answered(request, body, order_list, ChatReply(order_list))

    async def accept(
        request: Request,
        kind: type[requests.Body],
        ordered: Callable[[requests.Body, Served, Limits], list[Order]],
    ) -> tuple[requests.Body, list[Order]]:
        content = await _body(request, limits)

        def read() -> tuple[requests.Body, list[Order]]:
            body = requests.read(kind, content)
            return body, ordered(body, _served(models, body.model), limits)

        return await asyncio.to_thread(read)  # encoding must not hold up others

    async def answered(
        request: Request,
        body: requests.TextRequest,
        order_list: list[Order],
        reply: CompletionReply,
    ) -> Response:
        pending, options = Pending(worker, order_list), body.stream_options
        response: Response
        if body.stream:
            response = Stream(pending, reply, options is not None and options.include_usage)
        else:
            response = await whole(request, pending, reply)
        if passed_over := requests.passed_over(body):
            response.headers[IGNORED] = passed_over
        return response


def _served(models: Mapping[str, Served], name: str) -> Served:
    """Return a model by its name. Raises `ApiError` for an unknown name."""
    if name in models:
        return models[name]
    message = f"this server has no model {name!r}; it serves: {', '.join(models)}"
    raise ApiError(errors.NOT_FOUND, message, "model", "model_not_found")


def known_host(hosts: frozenset[str] | None) -> Callable[[Request], None]:
    """Return a check that refuses a request whose Host header names none of these hosts."""
    names = None if hosts is None else {in_url(host) for host in hosts}

    def check(request: Request) -> None:
        host = re.sub(r":\d*$", "", request.headers.get("host", "")).lower()
        if names is not None and host not in names:
            message = "the Host header does not name this machine"
            raise ApiError(400, message, code="invalid_host")

    return check


def has_key(key: str | None) -> Callable[[Request], None]:
    """Return a check that refuses a request without this key."""

    def check(request: Request) -> None:
        header = request.headers.get("authorization", "").encode("latin-1")
        if key is None or hmac.compare_digest(header, f"Bearer {key}".encode()):
            return
        message = "wrong key" if header else "no key; send it as Authorization: Bearer KEY"
        raise ApiError(errors.UNAUTHORIZED, message, code="invalid_api_key")

    return check


def in_url(host: str) -> str:
    """Return a host as a URL and the Host header write it."""
    return f"[{host}]" if ":" in host else host


def _error_handlers(app: FastAPI) -> None:
    """Report every error in the interface's form."""

    def as_response(error: ApiError) -> JSONResponse:
        return JSONResponse(error.body(), error.status, error.headers)

    @app.exception_handler(ApiError)
    async def refused(request: Request, error: ApiError) -> JSONResponse:
        return as_response(error)

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, error: HTTPException) -> JSONResponse:
        message = f"{request.method} {request.url.path}: {error.detail}"
        response = as_response(ApiError(error.status_code, message, code="unknown_url"))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return nobody()

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        return as_response(errors.broken())


async def _body(request: Request, limits: Limits) -> bytes:
    """Return the body of a JSON request. Other types are refused, because a foreign page could send
    them.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        message = f"Content-Type is {kind or 'missing'}; it must be application/json"
        raise ApiError(errors.MEDIA_TYPE, message, code="unsupported_media_type")
    content, size = bytearray(), 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                size += len(chunk)
                if size <= limits.body:
                    content += chunk
                elif size > DISREGARDED * limits.body:
                    break
    except TimeoutError:
        raise ApiError(errors.TIMEOUT, "the body did not come", code="timeout") from None
    if size > limits.body:
        message = f"the body is larger than {limits.body:,} bytes"
        raise ApiError(errors.TOO_LARGE, message, code="request_too_large")
    return bytes(content)


def _page() -> tuple[str, str]:
    """Return the page, and the policy that lets it run its own script and load nothing else."""
    content = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    script = re.findall(r"<script>(.*?)</script>", content, re.DOTALL)[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return content, (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
