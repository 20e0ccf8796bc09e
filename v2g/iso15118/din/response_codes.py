"""The response codes of DIN 70121: where each has its place, and when the charger sends it.

The schema also has codes of contracts, whose messages no session uses.
"""

from collections.abc import Mapping
from typing import Final

from v2g.iso15118.engine.response_codes import EVERY, CodeUse

_UNUSED: Final = CodeUse((), "never: DIN 70121 has external payment and no metering receipts")

USES: Final[Mapping[str, CodeUse]] = {
    "OK": CodeUse(EVERY, "done; also with EVSEProcessing Ongoing"),
    "OK_NewSessionEstablished": CodeUse(("SessionSetupRes",), "a new session"),
    "OK_OldSessionJoined": CodeUse((), "never: DIN 70121 has no pause"),
    "OK_CertificateExpiresSoon": _UNUSED,
    "FAILED": CodeUse(EVERY, "cable check, state of the control pilot, no authorisation in time, anything else"),
    "FAILED_SequenceError": CodeUse(EVERY, "a request out of order (V2G-DC-390, -665)"),
    "FAILED_ServiceIDInvalid": _UNUSED,
    "FAILED_UnknownSession": CodeUse(EVERY, "the header has another SessionID (V2G-DC-391)"),
    "FAILED_ServiceSelectionInvalid": CodeUse(
        ("ServicePaymentSelectionRes",), "a selected service was not offered (V2G-DC-396)"
    ),
    "FAILED_PaymentSelectionInvalid": CodeUse(
        ("ServicePaymentSelectionRes",), "the payment option is not ExternalPayment (V2G-DC-395, -252)"
    ),
    "FAILED_CertificateExpired": _UNUSED,
    "FAILED_SignatureError": _UNUSED,
    "FAILED_NoCertificateAvailable": _UNUSED,
    "FAILED_CertChainError": _UNUSED,
    "FAILED_ChallengeInvalid": _UNUSED,
    "FAILED_ContractCanceled": _UNUSED,
    "FAILED_WrongChargeParameter": CodeUse(
        ("ChargeParameterDiscoveryRes",), "AC parameters, a negative or impossible limit (V2G-DC-398)"
    ),
    "FAILED_PowerDeliveryNotApplied": CodeUse(("PowerDeliveryRes",), "the charger is not ready (V2G-DC-401)"),
    "FAILED_TariffSelectionInvalid": CodeUse(
        ("PowerDeliveryRes",), "SAScheduleTupleID of the profile was not offered (V2G-DC-399, -400)"
    ),
    "FAILED_ChargingProfileInvalid": CodeUse(
        ("PowerDeliveryRes",), "the profile exceeds PMax, in strict mode (V2G-DC-399, -400)"
    ),
    "FAILED_EVSEPresentVoltageToLow": CodeUse(
        ("PowerDeliveryRes",), "the output has not reached the battery's voltage"
    ),
    "FAILED_MeteringSignatureNotValid": _UNUSED,
    "FAILED_WrongEnergyTransferType": CodeUse(
        ("ChargeParameterDiscoveryRes",), "the type was not offered (V2G-DC-397)"
    ),
}
"""Code -> its use, in the order of the schema."""

NAMES_OF_2: Final[Mapping[str, str]] = {
    "FAILED_WrongEnergyTransferMode": "FAILED_WrongEnergyTransferType",
    "FAILED_NoChargeServiceSelected": "FAILED_ServiceSelectionInvalid",
    "FAILED_ContactorError": "FAILED_PowerDeliveryNotApplied",
}
"""Code of ISO 15118-2 that DIN 70121 lacks -> the one that says it here."""
