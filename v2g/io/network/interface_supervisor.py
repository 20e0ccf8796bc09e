"""Serving vehicles on network interfaces that come and go: modems are unplugged, TAP devices recreated."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from ipaddress import IPv6Address
from typing import Final, Protocol

from v2g.errors import TransportError
from v2g.io.network.interfaces import InterfaceWatch, Usable, has_multicast
from v2g.io.runtime.supervision import Supervisor
from v2g.observe import Observe

_PAUSE_S: Final = 1.0


class InterfaceService(Protocol):
    """A listener on one interface."""

    async def close(self) -> None:
        """Stop listening."""


class InterfaceSupervisor:
    """Serves each of `interfaces` whenever it has a usable link-local address.

    `serve(interface, address)` begins to listen there. It is closed when the interface or its address disappears, and
    called again when there is a new one.
    """

    def __init__(
        self,
        interfaces: Collection[str],
        serve: Callable[[str, IPv6Address], Awaitable[InterfaceService]],
        *,
        observe: Callable[[Observe], None],
    ) -> None:
        """Raises TransportError when an interface does not exist at the start."""
        for interface in interfaces:
            has_multicast(interface)
        self._serve = serve
        self._observe = observe
        self._changes = {interface: asyncio.Event() for interface in interfaces}
        self._watch = InterfaceWatch(interfaces, lambda interface, _: self._changes[interface].set())
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._supervisor = Supervisor(observe)
        for interface in interfaces:
            self._supervisor.keep(f"presence on {interface}", partial(self._keep, interface))

    async def ready(self) -> None:
        """Wait until one interface is served. Raises TransportError when the first usable one fails."""
        await asyncio.shield(self._first)

    async def close(self) -> None:
        """Stop serving everywhere."""
        self._watch.close()
        await self._supervisor.close()
        self._first.cancel()

    async def _keep(self, interface: str) -> None:
        while True:
            state = await self._until(interface, lambda now: now is not None)
            assert state is not None
            try:
                service = await self._serve(interface, state.address)
            except TransportError as error:
                if not self._first.done():
                    self._first.set_exception(error)
                    return
                self._observe(Observe("sdp", "not_served", {"interface": interface, "error": str(error)}))
                await asyncio.sleep(_PAUSE_S)
                continue
            try:
                self._observe(Observe("sdp", "served", {"interface": interface, "address": str(state.address)}))
                if not self._first.done():
                    self._first.set_result(None)
                await self._until(interface, lambda now, served=state: now != served)  # type: ignore[misc]
                self._observe(Observe("sdp", "interface_lost", {"interface": interface}))
            finally:
                await service.close()

    async def _until(self, interface: str, condition: Callable[[Usable | None], bool]) -> Usable | None:
        change = self._changes[interface]
        while not condition(self._watch.state[interface]):
            change.clear()
            await change.wait()
        return self._watch.state[interface]
