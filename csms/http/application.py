"""All routes as one ASGI application. Importing it takes a third of a second, so this happens after start-up."""

from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import ClassVar, Final

from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.handlers import HTTPRouteHandler
from litestar.plugins import PluginProtocol
from litestar.types import ASGIApp, Receive, Scope, Send
from litestar.types.internal_types import RouteHandlerMapItem

from csms.backend import Backend
from csms.http.authenticator import Authenticator
from csms.http.operations import Method
from csms.http.pipeline import OPTIONS, RequestPipeline, answered, has_slash, problem_response
from csms.http.routes import OPERATIONS
from csms.roaming.partners import Partners

DOCS: Final = "/docs"


class Application(Litestar):
    """Litestar without the plugins that it would load.

    A handler has all paths of a method: for each handler Litestar would check all paths again.
    """

    route_handler_method_map: ClassVar[dict[str, RouteHandlerMapItem]] = {}  # else each is looked for among all before

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return plugins  # those for pydantic and attrs would import these packages (0.15 s)


def application(backend: Backend, authenticator: Authenticator) -> ASGIApp:
    """Return the application. It answers undeclared operations with 404 or 405."""
    pipeline, config = RequestPipeline(backend, authenticator), backend.services.config.api
    routes = _routes(config.max_body_bytes, config.cors_origins)
    pages = None if config.docs is None else _pages(config.docs)

    roaming = _roaming(backend)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if roaming is not None and (scope["path"] + "/").startswith("/ocpi/"):
            await roaming(scope, receive, send)
            return
        if pages is not None and (scope["path"] + "/").startswith(f"{DOCS}/"):
            await pages(scope, receive, send)
            return
        scope["state"]["pipeline"] = pipeline
        if has_slash(scope):
            scope["path"] = scope["raw_path"].decode("latin-1")
        await routes(scope, receive, send)

    return answer


def _roaming(backend: Backend) -> ASGIApp | None:
    """Return what answers roaming partners, if there are any."""
    if (partners := backend.services.find(Partners)) is None:
        return None
    from csms.roaming import cpo, emsp  # noqa: F401  they register handlers of modules
    from csms.roaming.endpoint import OcpiEndpoint

    return OcpiEndpoint(backend, partners)


@cache
def _routes(max_body_bytes: int, cors_origins: tuple[str, ...]) -> Litestar:
    """Return the ASGI router; the pipeline in the request's scope then answers."""
    alike: defaultdict[Method, list[str]] = defaultdict(list)
    for each in OPERATIONS:
        alike[each.method].append(each.path.replace("}", ":str}"))
    return Application(
        route_handlers=[  # with OPTIONS, else Litestar adds a handler to each path
            HTTPRouteHandler(paths, http_method=[method, OPTIONS], status_code=200)(_answered_before)
            for method, paths in alike.items()
        ],
        opt={"operations": {(each.method, each.path): each for each in OPERATIONS}},
        middleware=[answered],
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


async def _answered_before() -> None:
    """What Litestar wants of each route."""
