"""Decisions of a charging station towards its CSMS that need neither network nor disk."""

from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec

from v2g.ocpp.messages.authorization import AuthorizeRequest, AuthorizeResponse, IdToken
from v2g.ocpp.messages.base import OCSPRequestData
from v2g.ocpp.messages.ev_charging import (
    ChargingNeeds,
    DCChargingParameters,
    NotifyEVChargingNeedsRequest,
    V2XChargingParameters,
)
from v2g.ocpp.routes import Version
from v2g.ocpp.times import format_time

Decision = Literal[
    "accepted",
    "certificate_expired",
    "certificate_revoked",
    "certificate_invalid",
    "unknown",
    "refused",
    "unreachable",
]

_CERTIFICATE: Final[dict[str, Decision]] = {
    "CertificateExpired": "certificate_expired",
    "CertificateRevoked": "certificate_revoked",
    "SignatureError": "certificate_invalid",
    "NoCertificateAvailable": "certificate_invalid",
    "CertChainError": "certificate_invalid",
}

BOOT_WAIT: Final = 30.0
"""Seconds between boot notifications when the CSMS leaves the interval to the station (B02.FR.07, B03.FR.05)."""


class AuthorizeOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What the CSMS says to a contract. `status` and `certificate_status` are OCPP's words, empty when it said none.

    `energy_transfer` lists the modes it allows (2.1), empty for any.
    """

    decision: Decision
    status: str = ""
    certificate_status: str = ""
    energy_transfer: tuple[str, ...] = ()


class EvNeeds(msgspec.Struct, frozen=True, kw_only=True):
    """What a vehicle wants and can do; None where it did not say.

    `service` is DC or DC_BPT. Power in W (discharge as magnitude), current mA, voltage mV, energy Wh, times UTC.
    """

    service: Literal["DC", "DC_BPT"]
    control_mode: Literal["scheduled", "dynamic"]
    max_charge_w: int
    max_discharge_w: int = 0
    max_current_ma: int
    max_voltage_mv: int
    departure_ms: int | None = None
    soc: int | None = None
    target_soc: int | None = None
    target_energy_wh: int | None = None
    max_energy_wh: int | None = None
    min_energy_wh: int | None = None


class BackOff(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait before reconnecting, all in s (OCPP-J 5.3): `minimum` doubles `repeats` times."""

    minimum: float = 1.0
    random_range: float = 2.0
    repeats: int = 5

    def wait(self, failures: int, entropy: Callable[[int], bytes]) -> float:
        """Return the wait before attempt `failures` + 1 of reconnecting, `failures` >= 0."""
        share = int.from_bytes(entropy(4), "big") / 2**32
        return self.minimum * float(2 ** min(failures, self.repeats)) + self.random_range * share


def authorize_request(
    emaid: str, chain_pem: str, hashes: Sequence[OCSPRequestData], version: Version
) -> AuthorizeRequest:
    """Return the request for a contract (C07.FR.02, .06). A chain too long for the version is left to its hashes."""
    longest = 5500 if version == "2.0.1" else 10_000
    return AuthorizeRequest(
        id_token=IdToken(id_token=emaid, type="eMAID"),
        certificate=chain_pem if 0 < len(chain_pem) <= longest else None,
        iso15118_certificate_hash_data=tuple(hashes[:4]),
    )


def authorize_outcome(response: AuthorizeResponse) -> AuthorizeOutcome:
    """Return what a response means. Charging needs both the identifier and, when judged, the certificate accepted."""
    status, certificate = response.id_token_info.status, response.certificate_status or ""
    decision: Decision = "accepted" if status == "Accepted" else "unknown" if status == "Unknown" else "refused"
    if certificate in _CERTIFICATE:
        decision = _CERTIFICATE[certificate]
    elif certificate == "ContractCancelled" and decision == "accepted":
        decision = "refused"
    return AuthorizeOutcome(
        decision=decision,
        status=status,
        certificate_status=certificate,
        energy_transfer=response.allowed_energy_transfer,
    )


def needs_request(evse_id: int, needs: EvNeeds, utc_ms: int, version: Version) -> NotifyEVChargingNeedsRequest:
    """Return what a vehicle needs as OCPP has it. OCPP 2.0.1 has no word for discharge: DC_BPT is DC there (K15)."""
    departure = None if needs.departure_ms is None else format_time(needs.departure_ms // 1000 * 1000)
    if version == "2.0.1":
        return NotifyEVChargingNeedsRequest(
            evse_id=evse_id,
            charging_needs=ChargingNeeds(
                requested_energy_transfer="DC",
                departure_time=departure,
                dc_charging_parameters=DCChargingParameters(
                    ev_max_current=needs.max_current_ma // 1000,
                    ev_max_voltage=needs.max_voltage_mv // 1000,
                    ev_max_power=needs.max_charge_w,
                    energy_amount=needs.target_energy_wh,
                    state_of_charge=needs.soc,
                ),
            ),
        )
    return NotifyEVChargingNeedsRequest(
        evse_id=evse_id,
        timestamp=format_time(utc_ms),
        charging_needs=ChargingNeeds(
            requested_energy_transfer=needs.service,
            departure_time=departure,
            control_mode="DynamicControl" if needs.control_mode == "dynamic" else "ScheduledControl",
            v2x_charging_parameters=V2XChargingParameters(
                max_charge_power=needs.max_charge_w,
                max_discharge_power=needs.max_discharge_w if needs.service == "DC_BPT" else None,
                max_charge_current=needs.max_current_ma / 1000,
                max_voltage=needs.max_voltage_mv / 1000,
                ev_target_energy_request=needs.target_energy_wh,
                ev_max_energy_request=needs.max_energy_wh,
                ev_min_energy_request=needs.min_energy_wh,
                target_soc=needs.target_soc,
            ),
        ),
    )
