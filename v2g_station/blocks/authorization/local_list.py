"""The local authorization list: identifiers sent by the CSMS in advance (functional block D)."""

from typing import Final

import msgspec

from v2g.errors import OcppError
from v2g.ocpp.messages import authorization as ocpp
from v2g.ocpp.messages.base import Message
from v2g_station.blocks.authorization.cache import CachedToken, known
from v2g_station.blocks.identifiers import name_of
from v2g_station.kernel.kernel import Handler, Kernel, status_info

MAX_ENTRIES: Final = 1000
ITEMS_PER_MESSAGE: Final = 100
_VERSION: Final = "list_version"


class _Version(msgspec.Struct, frozen=True):
    number: int


class LocalAuthorizationList:
    """The list of one station."""

    def __init__(self, kernel: Kernel) -> None:
        self._k = kernel
        self._entries = kernel.stored("local_list", CachedToken)
        stored = kernel.stored(_VERSION, _Version)
        self.version = stored["list"].number if "list" in stored else 0
        self.answers: dict[str, Handler] = {"SendLocalList": self._send, "GetLocalListVersion": self._get_version}
        self._measure()

    @property
    def enabled(self) -> bool:
        """Whether the list is used (D01.FR.13)."""
        return self._k.model.flag("LocalAuthListCtrlr.Enabled")

    def find(self, id_token: ocpp.IdToken) -> CachedToken | None:
        """Return an identifier's entry, None if it has expired (C14.FR.05)."""
        found = self._entries.get(name_of(id_token)) if self.enabled else None
        if found is not None and found.expires_ms is not None and self._k.utc_ms >= found.expires_ms:
            return None
        return found

    def has(self, id_token: ocpp.IdToken) -> bool:
        """Return whether an identifier is listed, even if its entry has expired."""
        return self.enabled and name_of(id_token) in self._entries

    def _get_version(self, _: ocpp.GetLocalListVersionRequest) -> Message:
        """D02."""
        return ocpp.GetLocalListVersionResponse(version_number=self.version if self.enabled else 0)

    def _send(self, request: ocpp.SendLocalListRequest) -> Message:
        """D01."""
        items = request.local_authorization_list
        if not self.enabled:
            return ocpp.SendLocalListResponse(status="Failed", status_info=status_info("NotEnabled"))
        if len(items) > ITEMS_PER_MESSAGE:
            raise OcppError(f"{len(items)} items, at most {ITEMS_PER_MESSAGE}", answer="OccurrenceConstraintViolation")
        if request.version_number <= 0:
            return ocpp.SendLocalListResponse(
                status="Failed", status_info=status_info("InvalidValue", "version 0 is not valid for a list")
            )
        full = request.update_type == "Full"
        if not full and request.version_number <= self.version:  # D01.FR.19
            return ocpp.SendLocalListResponse(status="VersionMismatch")
        names = [name_of(item.id_token) for item in items]
        listed = set(names)
        if len(listed) != len(names):  # D01.FR.06
            return ocpp.SendLocalListResponse(
                status="Failed", status_info=status_info("InvalidValue", "an identifier is listed twice")
            )
        if full and any(item.id_token_info is None for item in items):
            return ocpp.SendLocalListResponse(status="Failed", status_info=status_info("MissingParam", "idTokenInfo"))
        if len({*([] if full else self._entries), *listed}) > MAX_ENTRIES:
            return ocpp.SendLocalListResponse(status="Failed", status_info=status_info("TooManyElements"))
        # replace or update the list (D01.FR.04, .15 to .17)
        for name in [name for name in self._entries if full and name not in listed]:
            self._drop(name)
        for name, item in zip(names, items, strict=True):
            if item.id_token_info is None:
                if name in self._entries:
                    self._drop(name)
                continue
            self._entries[name] = entry = known(item.id_token_info, self._k.utc_ms)
            self._k.keep("local_list", name, entry)
        self.version = request.version_number
        self._k.keep(_VERSION, "list", _Version(self.version))
        self._measure()
        return ocpp.SendLocalListResponse(status="Accepted")

    def _drop(self, name: str) -> None:
        del self._entries[name]
        self._k.forget("local_list", name)

    def _measure(self) -> None:
        self._k.put("LocalAuthListCtrlr.Entries", str(len(self._entries)))
        self._k.put("LocalAuthListCtrlr.Storage", str(len(self._entries) * 256))
