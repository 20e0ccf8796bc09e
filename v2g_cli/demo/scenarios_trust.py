"""Scenarios of `v2g demo` about certificates, contracts and signatures."""

from typing import Final

import msgspec

from pki_tools.tree import TreeFault as CertificateFault
from v2g_cli.demo.faults import Fault
from v2g_cli.demo.scenario import Expected, Scenario

_SECC_REFUSED = ("evcc", "tls", "refused")
_VEHICLE_REFUSED = ("secc", "tls", "refused")
_CONTRACT_REFUSED = ("secc", "authorization", "refused")


def _trust(who: str, fault: CertificateFault, about: str, *sees: Expected) -> Scenario:
    scenario = Scenario(name=f"{who}-{fault.value.replace('_', '-')}", about=about, ending="no_session", sees=sees)
    return msgspec.structs.replace(scenario, **{who: fault})


TRUST: Final[tuple[Scenario, ...]] = (
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
        "the charger's certificate is revoked, as its stapled OCSP answer shows",
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
        "the contract is under an unknown root",
        (*_CONTRACT_REFUSED, {"code": "WARNING_eMSPUnknown"}),
    ),
    Scenario(
        name="install",
        about="a vehicle that has only a provisioning certificate fetches its contract from the back end's pool",
        ending="whole",
        install=True,
        sees=(
            ("secc", "installation", "asked", {}),
            ("csms", "provisioning", "answered", {"code": "OK", "emaid": "DEV2GC00000001"}),
            ("evcc", "installation", "installed", {"emaid": "DEV2GC00000001"}),
            ("evcc", "installation", "stored", {}),
        ),
    ),
    Scenario(
        name="install-foreign-cps",
        about="the contract comes from a provisioning service under a root that the vehicle lacks",
        ending="no_session",
        install=True,
        cps=CertificateFault.FOREIGN_ROOT,
        sees=(("evcc", "installation", "rejected", {"reason": "unknown_root"}),),
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
        about="discharge commands are signed with another key than the contract's",
        ending="no_export",
        evcc_fault=Fault.FORGED_COMMAND,
        sees=(("secc", "offer", "command_rejected", {"reason": "bad_signature"}),),
    ),
    Scenario(
        name="replayed-command",
        about="the first discharge command is replayed",
        ending="no_export",
        evcc_fault=Fault.REPLAYED_COMMAND,
        sees=(("secc", "offer", "command_rejected", {"reason": "replayed"}),),
    ),
    Scenario(
        name="expired-command",
        about="discharge commands arrive after they have expired",
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
)
"""Certificates, contracts and signatures."""
