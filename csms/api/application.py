"""All routes as one ASGI application. Importing it takes a third of a second, so this happens after start-up."""

from functools import cache
from pathlib import Path
from typing import Final

from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.handlers import HTTPRouteHandler
from litestar.plugins import PluginProtocol
from litestar.types import ASGIApp, Receive, Scope, Send

from csms.api.backend import Backend
from csms.api.http.authenticator import Authenticator
from csms.api.http.operations import Operation
from csms.api.http.pipeline import (
    Answer,
    Authentication,
    HttpRequest,
    RequestPipeline,
    measured,
    permitted,
    pipeline_of,
    problem_response,
)
from csms.api.routes import OPERATIONS

DOCS: Final = "/docs"


class Application(Litestar):
    """Litestar without the plugins that it would load."""

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return plugins  # those for pydantic and attrs would import these packages (0.15 s)


def application(backend: Backend, authenticator: Authenticator) -> ASGIApp:
    """Return the application. It answers undeclared operations with 404 or 405."""
    pipeline, config = RequestPipeline(backend, authenticator), backend.services.config.api
    routes = _routes(config.max_body_bytes, config.cors_origins)
    pages = None if config.docs is None else _pages(config.docs)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if pages is not None and (scope["path"] + "/").startswith(f"{DOCS}/"):
            await pages(scope, receive, send)
            return
        scope["state"]["pipeline"] = pipeline
        await routes(scope, receive, send)

    return answer


@cache
def _routes(max_body_bytes: int, cors_origins: tuple[str, ...]) -> Litestar:
    """Return the ASGI router; the pipeline in the request's scope then answers."""
    return Application(
        route_handlers=[_route(each) for each in OPERATIONS],
        middleware=[measured, Authentication],
        guards=[permitted],
        exception_handlers={Exception: problem_response},
        cors_config=CORSConfig(allow_origins=list(cors_origins)) if cors_origins else None,
        request_max_body_size=max_body_bytes,
        openapi_config=None,
        logging_config=None,
    )


def _pages(folder: Path) -> ASGIApp:
    """Return the documentation: files for everyone, and nothing of the back end."""
    from litestar.static_files import create_static_files_router

    files = create_static_files_router(path=DOCS, directories=[folder], html_mode=True)
    site = Application(route_handlers=[files], openapi_config=None, logging_config=None)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == DOCS:  # links of pages are relative
            await send({"type": "http.response.start", "status": 308, "headers": [(b"location", f"{DOCS}/".encode())]})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        await site(scope, receive, send)

    return answer


def _route(operation: Operation) -> HTTPRouteHandler:
    async def handler(request: HttpRequest) -> Answer:
        return await pipeline_of(request).answer(operation, request)

    path, methods, opt = operation.path.replace("}", ":str}"), [operation.method], {"operation": operation}
    return HTTPRouteHandler(path, http_method=methods, status_code=200, name=operation.name, opt=opt)(handler)
