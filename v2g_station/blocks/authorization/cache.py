"""The authorization cache: the CSMS's answers about identifiers, used offline or to save a request (C10 to C12)."""

from typing import Final

import msgspec

from v2g.errors import OcppError
from v2g.ocpp.messages.authorization import (
    AuthorizationStatus,
    ClearCacheRequest,
    ClearCacheResponse,
    IdToken,
    IdTokenInfo,
)
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.payment import DIRECT_PAYMENT
from v2g.ocpp.messages.tariff_cost import Tariff
from v2g.ocpp.times import parse_time
from v2g_station.blocks.identifiers import name_of
from v2g_station.kernel.kernel import Handler, Kernel, status_info

MAX_ENTRIES: Final = 1000
ENTRY_BYTES: Final = 256
"""Approximate size of an entry in the store."""

TARIFF_BYTES: Final = 1024
"""Approximate size that a driver's tariff adds."""


class DriverTariff(msgspec.Struct, frozen=True, kw_only=True):
    """A driver's own tariff (I08); without one the CSMS computes the cost (CentralCost)."""

    id_token: str
    tariff: Tariff | None = None


_ONCE: Final = frozenset({"NoAuthorization", "Central", DIRECT_PAYMENT})
"""Types of identifiers that are not cached (C02.FR.03, C05.FR.02), as they are used only once."""


class CachedToken(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an identifier. `expires_ms` is given by the CSMS, None for AuthCacheCtrlr.LifeTime."""

    status: AuthorizationStatus
    group: str | None = None
    expires_ms: int | None = None
    evse_ids: tuple[int, ...] = ()
    language: str | None = None
    language2: str | None = None
    message: str = ""
    """What the CSMS says to its driver, such as the price (personalMessage)."""
    energy_transfer: tuple[str, ...] = ()
    """The only energy transfer modes that the CSMS allowed it at its last authorization; empty for any."""
    driver: DriverTariff | None = None
    stored_ms: int = 0
    used_ms: int = 0
    uses: int = 0


def known(info: IdTokenInfo, utc_ms: int) -> CachedToken:
    """Return the content of an IdTokenInfo."""
    expires = None
    if info.cache_expiry_date_time is not None:
        try:
            expires = parse_time(info.cache_expiry_date_time)
        except OcppError:
            expires = utc_ms  # an invalid time allows nothing
    return CachedToken(
        status=info.status,
        group=info.group_id_token.id_token if info.group_id_token else None,
        expires_ms=expires,
        evse_ids=info.evse_id,
        language=info.language1,
        language2=info.language2,
        message=info.personal_message.content if info.personal_message else "",
        stored_ms=utc_ms,
        used_ms=utc_ms,
    )


class Cache:
    """The cache of one station."""

    def __init__(self, kernel: Kernel) -> None:
        self._k = kernel
        self._entries = kernel.stored("cache", CachedToken)
        self.drivers: dict[str, DriverTariff] = {}
        """The tariffs received with authorizations, by key; `Tariffs` takes and removes them."""
        self.answers: dict[str, Handler] = {"ClearCache": self._clear}
        self._measure()

    @property
    def enabled(self) -> bool:
        """Whether the cache is used (C10.FR.11)."""
        return self._k.model.flag("AuthCacheCtrlr.Enabled")

    def find(self, id_token: IdToken, *, uses: bool = True) -> CachedToken | None:
        """Return what is known of an identifier; expired entries are removed (C10.FR.08, .10, .13).

        `uses`: for an authorization, from which its lifetime counts again.
        """
        if not self.enabled:
            return None
        name = name_of(id_token)
        found = self._entries.get(name)
        if found is None:
            return None
        lifetime = self._k.model.number("AuthCacheCtrlr.LifeTime")
        expires = found.expires_ms
        if expires is None and lifetime > 0:
            expires = found.used_ms + int(lifetime * 1000)
        if expires is not None and self._k.utc_ms >= expires:
            self._forget(name)
            return None
        if uses:
            self._entries[name] = msgspec.structs.replace(found, used_ms=self._k.utc_ms, uses=found.uses + 1)
        return self._entries[name]

    def learn(
        self, id_token: IdToken, info: IdTokenInfo, *, authorized: bool = False, energy_transfer: tuple[str, ...] = ()
    ) -> None:
        """Store the CSMS's answer about an identifier (C10.FR.01, .04, .05); if it was an authorization request, with
        the driver's tariff (I08.FR.05) and the allowed energy transfer."""
        if not self.enabled or id_token.type in _ONCE:
            return
        name, new = name_of(id_token), known(info, self._k.utc_ms)
        old = self._entries.get(name)
        uses = old.uses if old else 0
        driver = self.drivers.get(name) if authorized else old.driver if old else None
        modes = energy_transfer if authorized else old.energy_transfer if old else ()
        self._entries[name] = new = msgspec.structs.replace(new, uses=uses, driver=driver, energy_transfer=modes)
        if old is None or msgspec.structs.replace(old, stored_ms=0, used_ms=0, uses=0) != msgspec.structs.replace(
            new, stored_ms=0, used_ms=0, uses=0
        ):
            self._k.keep("cache", name, new, durable=False)  # losing it costs one request
        while len(self._entries) > MAX_ENTRIES:
            self._forget(self._victim(name))
        self._measure()

    def forget(self, id_token: IdToken) -> bool:
        """Remove an identifier; return whether it was known (N09, N10)."""
        name = name_of(id_token)
        if name not in self._entries:
            return False
        self._forget(name)
        return True

    def _victim(self, new: str) -> str:
        """Return the entry to remove: unusable ones first, then by policy (C10.FR.07)."""
        policy = self._k.model.text("AuthCacheCtrlr.Policy")

        def rank(item: tuple[str, CachedToken]) -> tuple[bool, int]:
            entry = item[1]
            age = {"LFU": entry.uses, "FIFO": entry.stored_ms}.get(policy, entry.used_ms)
            return entry.status == "Accepted", age

        return min(((name, entry) for name, entry in self._entries.items() if name != new), key=rank)[0]

    def _forget(self, name: str) -> None:
        del self._entries[name]
        self._k.forget("cache", name, durable=False)
        self._measure()

    def _measure(self) -> None:
        tariffs = sum(entry.driver is not None for entry in self._entries.values())
        self._k.put("AuthCacheCtrlr.Storage", str(len(self._entries) * ENTRY_BYTES + tariffs * TARIFF_BYTES))

    def _clear(self, _: ClearCacheRequest) -> Message:
        """C11."""
        if not self.enabled:
            return ClearCacheResponse(status="Rejected", status_info=status_info("NotEnabled"))  # C11.FR.04
        for name in list(self._entries):
            self._forget(name)
        return ClearCacheResponse(status="Accepted")
