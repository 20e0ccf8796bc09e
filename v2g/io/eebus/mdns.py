"""EEBUS nodes in the local network by mDNS: announces the own one, and finds others (package `zeroconf`)."""

import ipaddress
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from v2g.eebus.identity import SERVICE, ShipNode, node_of
from v2g.errors import CodecError, TransportError
from v2g.extras import extras_named
from v2g.io.runtime.supervision import spawn

if TYPE_CHECKING:
    from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf

MOST_NODES: Final = 64
"""Limit of nodes that are kept."""
_ASK_MS: Final = 3000


class FoundNode(NamedTuple):
    """A node, and where it listens."""

    node: ShipNode
    host: str
    port: int


class ShipDiscovery:
    """Announces `node` at `port`, and calls `changed` when `found`, by SKI, has changed."""

    def __init__(self, node: ShipNode, host: str, port: int, changed: Callable[[], None]) -> None:
        self._node, self._host, self._port, self._changed = node, host, port, changed
        self.found: dict[str, FoundNode] = {}
        self._names: dict[str, str] = {}
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None

    async def open(self) -> None:
        """Begin. Raises TransportError without a usable interface, and ConfigError without the package."""
        with extras_named():
            from zeroconf import Error, InterfaceChoice
            from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf
        try:
            any_address = ipaddress.ip_address(self._host).is_unspecified
            self._zeroconf = AsyncZeroconf(interfaces=InterfaceChoice.Default if any_address else [self._host])
            info = AsyncServiceInfo(
                SERVICE,
                f"{self._node.id.replace('.', '-')}.{SERVICE}",
                port=self._port,
                properties=dict(self._node.txt()),
                server=f"v2g-{self._node.ski[:12]}.local.",
                parsed_addresses=_addresses() if any_address else [self._host],
            )
            await self._zeroconf.async_register_service(info, allow_name_change=True)
            self._browser = AsyncServiceBrowser(self._zeroconf.zeroconf, SERVICE, handlers=[self._heard])
        except (OSError, ValueError, Error) as error:
            raise TransportError(
                f"mDNS at {self._host}: {error}", hint="host must be an own IP address; mdns = false does without"
            ) from None

    async def close(self) -> None:
        """Withdraw the announcement."""
        if self._browser is not None:
            await self._browser.async_cancel()
        if self._zeroconf is not None:
            await self._zeroconf.async_unregister_all_services()
            await self._zeroconf.async_close()

    def _heard(self, *, name: str, state_change: Any, **_: object) -> None:
        if state_change.name == "Removed":
            if (ski := self._names.pop(name, None)) is not None and ski in self.found:
                del self.found[ski]
                self._changed()
        elif len(self._names) < MOST_NODES or name in self._names:
            spawn(self._ask(name))

    async def _ask(self, name: str) -> None:
        from zeroconf import IPVersion
        from zeroconf.asyncio import AsyncServiceInfo

        assert self._zeroconf is not None
        info = AsyncServiceInfo(SERVICE, name)
        if not await info.async_request(self._zeroconf.zeroconf, _ASK_MS):
            return
        hosts = info.parsed_scoped_addresses(IPVersion.V4Only) or [
            each for each in info.parsed_addresses() if not ipaddress.ip_address(each).is_link_local
        ]
        try:
            node = node_of(info.properties)
        except CodecError:
            return
        if hosts and node.ski != self._node.ski:
            self._names[name] = node.ski
            self.found[node.ski] = FoundNode(node, hosts[0], info.port or 0)
            self._changed()


def _addresses() -> list[str]:
    """Return this machine's IPv4 addresses, without loopback and link-local ones."""
    from ifaddr import get_adapters  # comes with zeroconf

    texts = [each.ip for adapter in get_adapters() for each in adapter.ips if isinstance(each.ip, str)]
    found = map(ipaddress.ip_address, texts)
    return [str(each) for each in found if not each.is_loopback and not each.is_link_local] or ["127.0.0.1"]
