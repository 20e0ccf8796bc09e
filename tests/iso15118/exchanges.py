"""What looks like requests and responses to a sequence chart, for editions whose bodies are named alike."""

from types import SimpleNamespace
from typing import Any

from v2g.iso15118.engine.sequence import Asks, Says

FIELDS = {
    "ChargeProgress": "charge_progress",
    "ChargingSession": "charging_session",
    "SelectedPaymentOption": "selected_payment_option",
    "ReadyToChargeState": "ready_to_charge_state",
}


def named(name: str) -> Any:
    """Return what has the name of an enumeration's value."""
    return SimpleNamespace(name=name)


def request(messages: Any, name: str, asks: Asks = Asks.ANYTHING) -> Any:
    """Return a request by name; the values of `asks` are those of the enumerations in `messages`."""
    fields: dict[str, Any] = {}
    title, _, value = asks.value.partition(" ")
    if title in FIELDS:
        kind = {"ChargeProgress": "ChargeProgress", "ChargingSession": "ChargingSession"}.get(title, "PaymentOption")
        is_flag = title == "ReadyToChargeState"
        fields[FIELDS[title]] = value == "true" if is_flag else getattr(messages, kind)(value)
    return type(name, (SimpleNamespace,), {})(**fields)


def response(code: Any, says: Says = Says.ANYTHING) -> Any:
    """Return a response for which `says` holds; Finished and without a receipt where that leaves it open."""
    return SimpleNamespace(
        response_code=code,
        evse_processing=named("Ongoing" if says is Says.ONGOING else "Finished"),
        receipt_required=says is Says.RECEIPT_REQUIRED,
    )
