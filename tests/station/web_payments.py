"""Payments on the web."""

from typing import Any

from tests.station.bench import Bench
from tests.station.charging import bench
from v2g_station.blocks.web_payment import ShowQrCode

PAID = {"idToken": "psp-7", "type": "DirectPayment"}
TEMPLATE = "https://pay.example/{chargingstationid}/{evse}/{totp}/{version}"
SECRET = "a secret of both"


def start(found: Bench, **more: Any) -> None:
    """The CSMS starts what somebody has paid for."""
    answer = found.ask("RequestStartTransaction", {"idToken": PAID, "remoteStartId": 7, "evseId": 1} | more)
    assert answer["status"] == "Accepted"


def web(template: str = TEMPLATE, *, code: bool = True, **more: Any) -> Bench:
    """A station that shows codes."""
    found = bench(version="2.1", optional=("WebPaymentsCtrlr",), **more)
    if code:
        values = {
            "URLTemplate": template, "SharedSecret": SECRET, "ValidityTime": "30", "Length": "8", "TOTPVersion": "v1",
            "Enabled": "true",
        }  # fmt: skip
        assert {found.set("WebPaymentsCtrlr", *each) for each in values.items()} == {"Accepted"}
    return found


def code_of(found: Bench, evse_id: int = 1) -> str | None:
    """Return what is shown as a code."""
    return next((c.url for c in reversed(found.commands) if isinstance(c, ShowQrCode) and c.evse_id == evse_id), None)
