"""All routes, as one ASGI application. Importing it costs a third of a second, which nobody waits for at start-up."""

from functools import cache
from typing import Any

from litestar import Litestar, Request
from litestar.config.cors import CORSConfig
from litestar.handlers import HTTPRouteHandler
from litestar.plugins import PluginProtocol
from litestar.types import ASGIApp, Receive, Scope, Send

from csms.api.http.authenticator import Authenticator
from csms.api.http.call import Backend
from csms.api.http.operations import Operation
from csms.api.http.pipeline import Answer, Gate, answer_error
from csms.api.routes import OPERATIONS


class _Application(Litestar):
    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return plugins  # those for pydantic and attrs import them wherever they are installed: 0.15 s, for nothing


def application(backend: Backend, doorkeeper: Authenticator) -> ASGIApp:
    """Return the application. Whatever is no declared operation is answered with 404 or 405."""
    gate, config = Gate(backend, doorkeeper), backend.services.config.api
    routes = _routes(config.max_body_bytes, config.cors_origins)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["gate"] = gate
        await routes(scope, receive, send)

    return answer


@cache
def _routes(max_body_bytes: int, cors_origins: tuple[str, ...]) -> Litestar:
    """Return what finds the route of a request, which the gate of its scope then answers."""
    return _Application(
        route_handlers=[_route(each) for each in OPERATIONS],
        exception_handlers={Exception: answer_error},
        cors_config=CORSConfig(allow_origins=list(cors_origins)) if cors_origins else None,
        request_max_body_size=max_body_bytes,
        openapi_config=None,
        logging_config=None,
    )


def _route(operation: Operation) -> HTTPRouteHandler:
    async def handler(request: Request[Any, Any, Any]) -> Answer:
        gate: Gate = request.scope["state"]["gate"]
        return await gate.answer(operation, request)

    path = operation.path.replace("}", ":str}")
    return HTTPRouteHandler(path, http_method=[operation.method], status_code=200, name=operation.name)(handler)
