"""The response codes of ISO 15118-2: where each has its place, and when the charger sends it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from v2g.iso15118.engine.response_codes import EVERY, CodeUse

_INSTALLING: Final = ("CertificateInstallationRes", "CertificateUpdateRes")
_CONTRACT: Final = (*_INSTALLING, "PaymentDetailsRes")

USES: Final[Mapping[str, CodeUse]] = {
    "OK": CodeUse(EVERY, "done; also with EVSEProcessing Ongoing"),
    "OK_NewSessionEstablished": CodeUse(
        ("SessionSetupRes",), "a new session, also where the id names none that can be joined (V2G2-756)"
    ),
    "OK_OldSessionJoined": CodeUse(("SessionSetupRes",), "the vehicle continues the session it paused (V2G2-463)"),
    "OK_CertificateExpiresSoon": CodeUse(("PaymentDetailsRes",), "the contract is accepted, and ends soon"),
    "FAILED": CodeUse(
        EVERY, "cable check, state of the control pilot, a ChargeProgress that does not fit (V2G2-812), anything else"
    ),
    "FAILED_SequenceError": CodeUse(EVERY, "a request out of order (V2G2-459, -538, -539)"),
    "FAILED_ServiceIDInvalid": CodeUse(("ServiceDetailRes",), "the service was not offered (V2G2-464, -425)"),
    "FAILED_UnknownSession": CodeUse(EVERY, "the header has another SessionID (V2G2-460)"),
    "FAILED_ServiceSelectionInvalid": CodeUse(
        ("PaymentServiceSelectionRes",), "a selected service was not offered (V2G2-467)"
    ),
    "FAILED_PaymentSelectionInvalid": CodeUse(
        ("PaymentServiceSelectionRes",), "the payment option was not offered (V2G2-465)"
    ),
    "FAILED_CertificateExpired": CodeUse(_CONTRACT, "a certificate is expired or not yet valid (V2G2-824)"),
    "FAILED_SignatureError": CodeUse(
        (*_INSTALLING, "AuthorizationRes"), "the signature in the header is missing or wrong"
    ),
    "FAILED_NoCertificateAvailable": CodeUse(
        _CONTRACT, "there is no contract for this vehicle, or none came in time; a certificate has another subject"
    ),
    "FAILED_CertChainError": CodeUse(_CONTRACT, "the chain is malformed, out of order or leads to no known root"),
    "FAILED_ChallengeInvalid": CodeUse(("AuthorizationRes",), "GenChallenge is not the given one (V2G2-475)"),
    "FAILED_ContractCanceled": CodeUse(
        ("CertificateUpdateRes", "PaymentDetailsRes"), "the provider has ended the contract"
    ),
    "FAILED_WrongChargeParameter": CodeUse(
        ("ChargeParameterDiscoveryRes",),
        "a negative limit, parameters of the other mode, a maximum below the charger's minimum (V2G2-477)",
    ),
    "FAILED_PowerDeliveryNotApplied": CodeUse(("PowerDeliveryRes",), "the charger is not ready (V2G2-480)"),
    "FAILED_TariffSelectionInvalid": CodeUse(("PowerDeliveryRes",), "SAScheduleTupleID was not offered (V2G2-479)"),
    "FAILED_ChargingProfileInvalid": CodeUse(
        ("PowerDeliveryRes",), "the profile exceeds PMax, in strict mode (V2G2-478, -224, -225, -761)"
    ),
    "FAILED_MeteringSignatureNotValid": CodeUse(
        ("MeteringReceiptRes",), "reading, key or content of the receipt is wrong (V2G2-481, -904)"
    ),
    "FAILED_NoChargeServiceSelected": CodeUse(
        ("PaymentServiceSelectionRes",), "the charge service is not among the selected ones (V2G2-804)"
    ),
    "FAILED_WrongEnergyTransferMode": CodeUse(("ChargeParameterDiscoveryRes",), "the mode was not offered (V2G2-476)"),
    "FAILED_ContactorError": CodeUse(("PowerDeliveryRes",), "the AC contactor did not close or open in time"),
    "FAILED_CertificateNotAllowedAtThisEVSE": CodeUse(
        ("PaymentDetailsRes",), "the contract is good, but not accepted here"
    ),
    "FAILED_CertificateRevoked": CodeUse(_CONTRACT, "a certificate is revoked"),
}
"""Code -> its use, in the order of the schema."""

_BY_CHAIN: Final = MappingProxyType(
    {
        "expired": "FAILED_CertificateExpired",
        "not_yet_valid": "FAILED_CertificateExpired",  # [V2G2-824]
        "revoked": "FAILED_CertificateRevoked",
        "wrong_subject": "FAILED_NoCertificateAvailable",  # another eMAID, or none
        "wrong_domain": "FAILED_NoCertificateAvailable",
    }
)


def code_of_chain(reason: str) -> str:
    """Return the code that refuses a chain, by the reason of its CertificateError or RevocationError."""
    return _BY_CHAIN.get(reason, "FAILED_CertChainError")
