"""A tariff with taxes, and a session that costs by it."""

from typing import Any

from tests.csms.charging import Charging

PLAN: dict[str, Any] = {
    "id": "city", "currency": "EUR",
    "energy": {
        "rates": [{"price": "0.58", "when": {"from_minute": 1439}}, {"price": "0.42"}],
        "taxes": [{"kind": "VAT", "ppm": 190_000}],
    },
    "export": {"rates": [{"price": "0.12"}]},
    "fixed": {"rates": [{"price": "1"}], "taxes": [{"kind": "VAT", "ppm": 190_000}]},
}  # fmt: skip


async def go_on(charging: Charging, kind: str, trigger: str, wh: int, watts: int = 0) -> None:
    """Let ten minutes pass, and the station report its register and power."""
    charging.csms.clock.advance(540)
    charging.wh = wh
    context = {"Started": "Transaction.Begin", "Ended": "Transaction.End"}.get(kind, "Sample.Periodic")
    await charging.event(
        kind, trigger, context=context, state="Charging", token={"idToken": "DEADBEEF", "type": "Central"}
    )
    if watts:
        power = {"value": watts, "context": "Sample.Periodic", "measurand": "Power.Active.Import"}
        extra = {"meterValue": [{"timestamp": charging.now(), "sampledValue": [power]}]}
        charging.csms.clock.advance(-60)
        await charging.event("Updated", "MeterValuePeriodic", extra=extra)
