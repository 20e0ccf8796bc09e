"""QR codes on stations' displays, which lead to a web payment (C25, 2.1)."""

import secrets
from collections.abc import Sequence

import msgspec

from csms.db.queries import payments as rows
from csms.db.store_key import qr_purpose
from csms.domain.billing.qr_payment import Scanned, check_own_template, decode, is_valid
from csms.ocpp.base import Services
from csms.services.billing import payments
from csms.services.stations.device_model import set_variables
from v2g.errors import RefusedError
from v2g.ocpp.messages.device_model import Component, Variable
from v2g.ocpp.messages.provisioning import SetVariableData, SetVariableResult
from v2g.ocpp.web_payment import VERSION, QrCode

_COMPONENT = Component(name="WebPaymentsCtrlr")


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """A valid scanned code: the payment that has begun, and its target."""

    payment_id: int
    scanned: Scanned


async def configure(
    services: Services, station_id: str, template: str, *, validity_s: int = 30, length: int = 8
) -> Sequence[SetVariableResult]:
    """Have a station show QR codes with a new secret (C25.FR.01); stored when it accepted every variable.

    Raises RefusedError for an invalid template, V2GError as `ConnectionRegistry.call` does.
    """
    check_own_template(template)
    code = QrCode(template=template, shared_secret=secrets.token_urlsafe(32), validity_s=validity_s, length=length)
    values = {
        "URLTemplate": template, "TOTPVersion": VERSION, "ValidityTime": str(validity_s), "Length": str(length),
        "SharedSecret": code.shared_secret, "Enabled": "true",
    }  # fmt: skip
    wanted = [
        SetVariableData(attribute_value=value, component=_COMPONENT, variable=Variable(name=name))
        for name, value in values.items()
    ]
    results = await set_variables(services, station_id, wanted)
    if all(result.attribute_status in ("Accepted", "RebootRequired") for result in results):
        sealed = services.store_key.seal(code.shared_secret, qr_purpose(station_id))
        stored = msgspec.structs.replace(code, shared_secret=sealed)
        await services.store.run(rows.save_qr_code, station_id, stored)
    return results


async def stick(services: Services, station_id: str, template: str) -> None:
    """Register the addresses of a static code, as on a sticker, for a station (C25, second scenario).

    They can be read and copied by anyone, so they identify the place and nothing else. They end the station's
    dynamic codes. Raises RefusedError for an invalid template.
    """
    check_own_template(template, static=True)
    await services.store.run(rows.save_qr_code, station_id, QrCode(template=template, shared_secret=""))


async def scan(services: Services, station_id: str, url: str, timeout_s: int = 300) -> Scan:
    """Begin the payment of an address scanned at a station, which must be one that the station shows now.

    The station is notified of the payment (C25.FR.21). Raises RefusedError for an address that is wrong or old
    (C25.FR.08), or when another payment for that EVSE is pending, StoreError when the key of the store was lost, and
    V2GError as `ConnectionRegistry.call` does.
    """
    code = await services.store.run(rows.find_qr_code, station_id)
    if code is None:
        raise RefusedError(f"{station_id} has no QR codes", reason="no_codes")
    if code.shared_secret:
        secret = services.store_key.open(code.shared_secret, qr_purpose(station_id))
        code = msgspec.structs.replace(code, shared_secret=secret)
    scanned = decode(url, code.template)
    now_ms = services.clock.utc_ms()
    if scanned.station_id != station_id or not is_valid(scanned.totp, code, now_ms):
        services.report("ocpp", "qr_code_refused", station_id, {"evse": scanned.evse_id})
        raise RefusedError("the code has expired, or is of another station", reason="totp", hint="scan it again")
    evse_id = scanned.evse_id or 1
    if await services.store.run(rows.is_paying, station_id, evse_id, now_ms):
        raise RefusedError(f"a payment for EVSE {evse_id} is already pending", reason="under_way")
    number = await payments.web_payment_started(services, station_id, evse_id, timeout_s, scanned.limit)
    return Scan(payment_id=number, scanned=scanned)
