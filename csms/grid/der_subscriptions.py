"""Subscriptions at an IEEE 2030.5 server, and the listener for its notifications.

A notification is a hint: what it names is requested again. Requests at the server's rates go on beside them, so that a
lost notification, or one that somebody else sends, changes nothing but when we ask.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol
from urllib.parse import urlsplit

import msgspec

from csms.grid.config import IEEE_2030_5, Ieee2030
from csms.grid.der_server import DerServer
from csms.services import Services
from v2g.errors import CodecError, TransportError
from v2g.ieee2030_5.reports import subscription_xml
from v2g.ieee2030_5.resources import ServerNotification, end_device_of, link, notified_of, readable, subscription_of
from v2g.io.http.server import BoundedServer, HttpHandler
from v2g.io.runtime.supervision import new_thread
from v2g.io.tls.files import server_context

NOTIFICATION: Final = "ieee2030_5_notification"
"""Kind of the feed's event that a resource has changed: any node may be told, one is the client."""
_MOST_BYTES: Final = 262_144
_MOST_CLIENTS: Final = 16
_PER_S: Final = 20.0
_SETTLE_S: Final = 1.0
_INTERVAL_S: Final = 60.0
_TIME_OUT_S: Final = 60.0


class _Follower(Protocol):
    def poll_now(self) -> None: ...


class _Notified(HttpHandler):
    server: "NotificationServer"

    def do_POST(self) -> None:  # noqa: N802 - http.server's name
        """Take a notification."""
        length = self.headers.get("Content-Length", "")
        size = int(length) if length.isascii() and length.isdigit() and len(length) < 8 else -1
        if self.path.partition("?")[0] != self.server.path:
            self.answer(404, b"", {})
        elif not 0 <= size <= _MOST_BYTES:
            self.answer(411 if size < 0 else 413, b"", {})
        else:
            try:
                self.server.notified(notified_of(self.body.read(size)))
            except CodecError as error:
                self.answer(400, f"{error}\n".encode(), {})
            else:
                self.answer(201, b"", {})


class NotificationServer(BoundedServer):
    """Accepts notifications from those that have a certificate of `root`. Raises OSError, or KeyAccessError."""

    def __init__(self, config: Ieee2030, notified: Callable[[ServerNotification], None]) -> None:
        """`notified` is called with each notification, in another thread."""
        assert config.notifications is not None
        assert config.root is not None
        own = config.notifications
        self.path, self.notified = urlsplit(own.url).path or "/", notified
        tls = server_context(config.certificate, config.key, (config.root,))
        super().__init__(own.host, own.port, _Notified, most_clients=_MOST_CLIENTS, per_s=_PER_S, tls=tls)


class DerSubscriber:
    """Keeps subscriptions to all that clients of a server read and it sends notifications of."""

    def __init__(
        self, services: Services, config: Ieee2030, server: DerServer, lfdi: str, followers: Sequence[_Follower]
    ) -> None:
        """`lfdi`: of the end device that has the list of subscriptions."""
        assert config.notifications is not None
        self._services, self._config, self._server, self._lfdi = services, config, server, lfdi
        self._followers, self._url = followers, config.notifications.url
        self._problem = ""
        self._made: dict[str, str] = {}
        """Paths of our subscriptions by resource, since they were listed."""
        self._cancelled = False
        self._listed_ms = 0
        self.port = 0
        """Where it listens, once it does."""

    async def run(self) -> None:
        """Listen, and keep the subscriptions, until cancelled. Raises TransportError where the port is in use."""
        loop, services = asyncio.get_running_loop(), self._services

        def notified(notification: ServerNotification) -> None:
            data = msgspec.structs.asdict(notification)
            loop.call_soon_threadsafe(services.feed.publish, NOTIFICATION, None, data)

        try:
            listener = NotificationServer(self._config, notified)
        except OSError as error:
            raise TransportError(f"cannot listen for notifications: {error}", hint="is the port in use?") from None
        self.port = listener.server_port
        thread = new_thread(listener.serve_forever, name="IEEE 2030.5 notifications")
        thread.start()
        try:
            with services.feed.subscribe({NOTIFICATION}) as notifications:
                while True:
                    await self.step()
                    events = await notifications.batch(_SETTLE_S, within_s=_INTERVAL_S)
                    cancelled = any(each.data.get("cancelled") for each in events)
                    self.changed({str(each.data.get("resource", "")) for each in events}, cancelled=cancelled)
        finally:
            await asyncio.to_thread(listener.shutdown)
            listener.server_close()

    def changed(self, resources: set[str], *, cancelled: bool = False) -> None:
        """Have clients request these resources again, if subscribed to. `cancelled`: one subscription has ended."""
        self._cancelled |= cancelled
        paths = {self._server.path_of(each) for each in resources} & self._server.subscribable
        for path in paths:
            self._server.forget(path)
        for each in self._followers if paths else ():
            each.poll_now()

    async def step(self) -> None:
        """Subscribe to what is missing, and end what is no longer read; a failure is reported once."""
        if not await self._services.leads(IEEE_2030_5, self._config.poll_interval_s or _INTERVAL_S):
            return
        problem = ""
        try:
            async with asyncio.timeout(_TIME_OUT_S):
                server = self._server
                server.begin(self._services.clock.utc_ms())
                capability = await server.resource(server.path, "DeviceCapability")
                path = link(capability, "EndDeviceListLink")
                devices, _ = readable(await server.items(path, "EndDevice") if path else (), end_device_of)
                own = next((each for each in devices if each.lfdi == self._lfdi), None)
                if own is None or not own.subscriptions_path:
                    raise TransportError(f"its end device {self._lfdi} takes none", hint="it is polled")
                path, made = own.subscriptions_path, self._made
                may_list = server.now_ms >= self._listed_ms + _INTERVAL_S * 1000  # not in turns with the server
                if self._cancelled and may_list:
                    server.forget(path)
                    self._cancelled, self._listed_ms = False, server.now_ms
                if server.due(path):
                    listed, _ = readable(await server.items(path, "Subscription"), subscription_of)
                    known = {*made.values()}  # a server may write our URI otherwise
                    ours = [each for each in listed if each.notification_uri == self._url or each.path in known]
                    made = self._made = {server.path_of(each.resource): each.path for each in ours}
                wanted = server.subscribable - {path}
                for resource in sorted(wanted - made.keys()):
                    made[resource] = await server.post(path, subscription_xml(resource, self._url))
                for resource in sorted(made.keys() - wanted):
                    if there := made.pop(resource):
                        await server.delete(there)
        except (TransportError, CodecError, TimeoutError) as error:
            problem = f"subscriptions: {str(error) or 'its answers take too long'}"
        if problem and problem != self._problem:
            self._services.announce("ocpp", "ieee2030_5_problem", reason=problem[:200])
        self._problem = problem
