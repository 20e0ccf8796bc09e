"""What a charger under test has, as its maker declares it: decides which cases apply (the PICS of ISO 15118-4)."""

from typing import Annotated

import msgspec
from msgspec import Meta

from v2g_testkit.cases.known import Kit


class ChargerDeclaration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a charger has. Without a key the tester goes by what the charger offers and answers in the session."""

    tls: bool | None = None
    """TLS, in any edition. False lets the case run in which TLS is requested of a charger without it."""
    external_payment: bool | None = None
    """Authorization by external means (EIM)."""
    contracts: bool | None = None
    """Authorization by contract (Plug & Charge)."""
    value_added_services: bool | None = None
    internet_access: bool | None = None
    """The value-added service InternetAccess."""
    certificate_installation: bool | None = None
    certificate_update: bool | None = None
    pause: bool | None = None
    """Sessions may pause and be resumed."""
    renegotiation: bool | None = None
    """Schedules may be renegotiated in the charge loop."""
    welding_detection: bool | None = None
    meter_info: bool | None = None
    """MeterInfo is in the responses of the charge loop. True makes the case about it certain."""
    meter_reading: bool | None = None
    """MeterReading, too."""
    evse_id: Annotated[str, Meta(max_length=255)] = ""
    """Its EVSEID, with or without separators; other ones are then faults."""
    meter_id: Annotated[str, Meta(max_length=32)] = ""
    """MeterID of its meter; other ones are then faults."""
    staples: bool | None = None
    """OCSP responses are stapled in TLS, as public chargers do. True makes the case about it certain."""

    def on(self, kit: Kit) -> Kit:
        """Return the tester's equipment with what the charger has declared of itself."""
        return msgspec.structs.replace(kit, evse_id=self.evse_id, meter_id=self.meter_id)

    def lacks(self, needs: tuple[str, ...]) -> str:
        """Return which declared feature rules a case out, or nothing. `needs` are keys, or `not` and a key.

        Only what is declared as missing can be the object of a test that it is missing.
        """
        for need in needs:
            name = need.removeprefix("not ")
            value, wanted = getattr(self, name), name == need
            if value is None and not wanted:
                return f"whether the charger has it is not declared: {name}"
            if value is not None and value is not wanted:
                return f"declared: {name} = {str(value).lower()}"
        return ""

    def has(self, needs: tuple[str, ...]) -> bool:
        """Return whether every feature that a case is about is declared as present."""
        return bool(needs) and all(getattr(self, need.removeprefix("not "), None) is True for need in needs)
