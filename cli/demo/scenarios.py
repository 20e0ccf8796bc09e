"""What `v2g demo` can show: the whole session, and everything that may go wrong in it."""

from typing import Final, Literal

import msgspec

from cli.demo.faults import Fault
from pki_tools.tree import Fault as CertificateFault

Ending = Literal["whole", "stopped", "no_session", "no_export"]
"""`whole`: everything happened. `stopped`: power stopped safely in mid-run. `no_session`: no energy at all.
`no_export`: charged, but nothing was fed back beyond what was signed."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One run. `sees` are (process, stage, name, {field: value}) events that must happen."""

    name: str
    about: str
    ending: Ending
    sees: tuple[tuple[str, str, str, dict[str, str]], ...] = ()
    secc: CertificateFault = CertificateFault.NONE
    vehicle: CertificateFault = CertificateFault.NONE
    contract: CertificateFault = CertificateFault.NONE
    evcc_fault: Fault | None = None
    secc_fault: Fault | None = None
    lower_limit: bool = False
    csms_away: bool = False
    kill_secc: bool = False
    freeze_evcc: bool = False
    broker: bool = True
    ocpp: tuple[str, ...] = ("ocpp2.1", "ocpp2.0.1")


def _trust(who: str, fault: CertificateFault, about: str, *sees: tuple[str, str, str, dict[str, str]]) -> Scenario:
    scenario = Scenario(name=f"{who}-{fault.value.replace('_', '-')}", about=about, ending="no_session", sees=sees)
    return msgspec.structs.replace(scenario, **{who: fault})


_SECC_REFUSED = ("evcc", "tls", "refused")
_VEHICLE_REFUSED = ("secc", "tls", "refused")
_CONTRACT_REFUSED = ("secc", "authorization", "refused")

SCENARIOS: Final[tuple[Scenario, ...]] = (
    Scenario(
        name="discharge",
        about="plug and charge, charge, discharge, settle; the grid operator lowers the export limit in mid-run",
        ending="whole",
        lower_limit=True,
    ),
    _trust(
        "secc",
        CertificateFault.EXPIRED,
        "the charger's certificate has expired",
        (*_SECC_REFUSED, {"reason": "peer_certificate_expired"}),
    ),
    _trust(
        "secc",
        CertificateFault.FOREIGN_ROOT,
        "the charger's certificate is under a root that the vehicle lacks",
        (*_SECC_REFUSED, {"reason": "unknown_ca"}),
    ),
    _trust(
        "secc",
        CertificateFault.REVOKED,
        "the charger's certificate is revoked, its own OCSP answer says so",
        (*_SECC_REFUSED, {"reason": "ocsp_revoked"}),
    ),
    _trust(
        "vehicle",
        CertificateFault.EXPIRED,
        "the vehicle's certificate has expired",
        (*_VEHICLE_REFUSED, {"reason": "peer_certificate_expired"}),
    ),
    _trust(
        "vehicle",
        CertificateFault.FOREIGN_ROOT,
        "the vehicle's certificate is under a root that the charger lacks",
        (*_VEHICLE_REFUSED, {"reason": "unknown_ca"}),
    ),
    _trust(
        "contract",
        CertificateFault.EXPIRED,
        "the contract certificate has expired",
        (*_CONTRACT_REFUSED, {"code": "WARNING_CertificateExpired"}),
    ),
    _trust(
        "contract",
        CertificateFault.FOREIGN_ROOT,
        "the contract is under a root that nobody here knows",
        (*_CONTRACT_REFUSED, {"code": "WARNING_eMSPUnknown"}),
    ),
    Scenario(
        name="tampered-signature",
        about="one bit of the plug-and-charge signature is flipped",
        ending="no_session",
        evcc_fault=Fault.TAMPERED_SIGNATURE,
        sees=(("secc", "session", "request_failed", {"code": "FAILED_SignatureError"}),),
    ),
    Scenario(
        name="forged-command",
        about="discharge commands are signed by a key that is not the contract's",
        ending="no_export",
        evcc_fault=Fault.FORGED_COMMAND,
        sees=(("secc", "offer", "command_rejected", {"reason": "bad_signature"}),),
    ),
    Scenario(
        name="replayed-command",
        about="the first discharge command is sent again and again",
        ending="no_export",
        evcc_fault=Fault.REPLAYED_COMMAND,
        sees=(("secc", "offer", "command_rejected", {"reason": "replayed"}),),
    ),
    Scenario(
        name="expired-command",
        about="discharge commands arrive when their time is over",
        ending="no_export",
        evcc_fault=Fault.EXPIRED_COMMAND,
        sees=(("secc", "offer", "command_rejected", {"reason": "expired"}),),
    ),
    Scenario(
        name="out-of-sequence",
        about="the vehicle sends a message out of order",
        ending="no_session",
        evcc_fault=Fault.OUT_OF_SEQUENCE,
        sees=(("secc", "session", "request_failed", {"code": "FAILED_SequenceError"}),),
    ),
    Scenario(
        name="silent-vehicle",
        about="the vehicle's computer freezes in the charge loop",
        ending="stopped",
        freeze_evcc=True,
        sees=(("secc", "session", "timeout", {"timer": "V2G_SECC_Sequence_Timeout"}),),
    ),
    Scenario(
        name="silent-charger",
        about="the charger falls silent in the charge loop",
        ending="stopped",
        secc_fault=Fault.SILENT,
        sees=(("evcc", "session", "failed", {"reason": "message_timeout"}),),
    ),
    Scenario(
        name="csms-away",
        about="the back end dies in mid-run and comes back: transaction messages wait, then arrive once",
        ending="whole",
        csms_away=True,
    ),
    Scenario(
        name="ocpp-2.0.1",
        about="the whole session with a back end that speaks OCPP 2.0.1 only",
        ending="whole",
        lower_limit=True,
        ocpp=("ocpp2.0.1",),
    ),
    Scenario(
        name="telemetry-https",
        about="the whole session without a broker: telemetry goes to the back end over HTTPS",
        ending="whole",
        broker=False,
    ),
    Scenario(
        name="secc-killed",
        about="the charger is killed with -9 in the charge loop: the vehicle stops, the books close on restart",
        ending="stopped",
        kill_secc=True,
        sees=(
            ("evcc", "session", "failed", {"reason": "secc_vanished"}),
            ("secc", "settlement", "journal_recovered", {}),
            ("secc", "ocpp", "transaction_recovered", {}),
        ),
    ),
)


def find(name: str) -> Scenario | None:
    """Return the scenario of that name."""
    return next((scenario for scenario in SCENARIOS if scenario.name == name), None)
