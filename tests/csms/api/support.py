"""The API without sockets: requests go straight into the application, answers come straight back."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

from litestar.types import ASGIApp

from csms.accounts.rules import Role
from csms.alerts.work import Alerts
from csms.backend import Backend, make_backend
from csms.http.application import application
from csms.http.authenticator import Authenticator
from csms.telemetry.latest import LatestStates
from tests.csms.backend import Backend as MemoryBackend
from tests.csms.support import TOKENS


class Answer:
    """What came back."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes, cookies: Sequence[str] = ()) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.cookies = cookies

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class ApiClient:
    """Somebody who asks. `role` None shows nothing; `token` is shown instead of the role's."""

    def __init__(self, app: ASGIApp, backend: MemoryBackend, alerts: Alerts, latest: LatestStates) -> None:
        self.app = app
        self.latest = latest
        self.backend = backend
        self.alerts = alerts

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        role: Role | None = Role.ADMIN,
        token: str | None = None,
        **headers: str,
    ) -> Answer:
        """Send a request. `body` is bytes or becomes JSON; `headers` with underscores for hyphens."""
        token = token or (TOKENS[role] if role else None)
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return await self._exchange(_scope(method, path, headers), content)

    async def stream(
        self, path: str, send: Any, gone: asyncio.Event, *, role: Role = Role.ADMIN, token: str = "", **headers: str
    ) -> None:
        """Read a stream, as the administrator if nobody else, into `send`, until `gone`."""
        headers["authorization"] = f"Bearer {token or TOKENS[role]}"
        asked = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> Any:
            message = next(asked, None)
            if message is None:
                await gone.wait()
            return message or {"type": "http.disconnect"}

        scope = _scope("GET", path, headers)
        transport = SimpleNamespace(is_closing=gone.is_set, get_extra_info=lambda _: None)
        scope["state"] = {"transport": transport, "leave": lambda _: None}
        await self.app(scope, receive, send)

    async def _exchange(self, scope: Any, content: bytes) -> Answer:
        sent: list[Any] = []
        complete = asyncio.Event()
        asked = iter([{"type": "http.request", "body": content, "more_body": False}])

        async def receive() -> Any:
            message = next(asked, None)
            if message is None:
                await complete.wait()
            return message or {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                complete.set()

        await self.app(scope, receive, send)
        start, *rest = sent
        found = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        cookies = [value.decode() for name, value in start["headers"] if name.lower() == b"set-cookie"]
        return Answer(start["status"], found, b"".join(each.get("body", b"") for each in rest), cookies)


def _scope(method: str, path: str, headers: Mapping[str, str]) -> Any:
    url = urlsplit(path)
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": unquote(url.path),
        "raw_path": url.path.encode(),
        "query_string": url.query.encode(),
        "root_path": "",
        "headers": [(name.replace("_", "-").lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("192.0.2.1", 50000),
        "server": ("localhost", 443),
        "state": {},
    }


@contextlib.asynccontextmanager
async def serving(
    backend: MemoryBackend, answering: Callable[[Backend, Authenticator], ASGIApp] = application
) -> AsyncIterator[ApiClient]:
    """Put an API, or another application, in front of a back end."""
    services = backend.services
    api = make_backend(services)
    work = [asyncio.create_task(each.run()) for each in (api.history, api.webhooks, api.alerts)]
    await asyncio.sleep(0)
    yield ApiClient(answering(api, Authenticator(services.config.api, services)), backend, api.alerts, api.latest)
    api.history.close()
    for each in work:
        each.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await each
