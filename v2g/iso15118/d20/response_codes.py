"""The response codes of ISO 15118-20: where each has its place, and when the charger sends it."""

from collections.abc import Mapping
from typing import Final

from v2g.iso15118.engine.response_codes import EVERY, CodeUse

_LOOPS: Final = ("AC_ChargeLoopRes", "DC_ChargeLoopRes")

USES: Final[Mapping[str, CodeUse]] = {
    "OK": CodeUse(EVERY, "done; also with EVSEProcessing Ongoing"),
    "OK_CertificateExpiresSoon": CodeUse(
        ("AuthorizationRes",), "authorised, and the contract ends within 14 days (V2G20-2218)"
    ),
    "OK_NewSessionEstablished": CodeUse(
        ("SessionSetupRes",), "a new session, also where none can be joined (V2G20-2626, -2627)"
    ),
    "OK_OldSessionJoined": CodeUse(("SessionSetupRes",), "the vehicle goes on with the session that it paused"),
    "OK_PowerToleranceConfirmed": CodeUse(("PowerDeliveryRes",), "the vehicle keeps the band around its schedule"),
    "WARNING_AuthorizationSelectionInvalid": CodeUse(
        ("AuthorizationRes",), "the method was not offered, or its part of the request is missing (V2G20-2209, -2226)"
    ),
    "WARNING_CertificateExpired": CodeUse(
        ("AuthorizationRes", "CertificateInstallationRes"), "the contract's or provisioning chain is over (V2G20-2203)"
    ),
    "WARNING_CertificateNotYetValid": CodeUse(
        ("AuthorizationRes", "CertificateInstallationRes"), "the chain is not valid yet (V2G20-2204)"
    ),
    "WARNING_CertificateRevoked": CodeUse(
        ("AuthorizationRes", "CertificateInstallationRes"), "back end, OCSP answer or revocation list says so"
    ),
    "WARNING_CertificateValidationError": CodeUse(
        ("AuthorizationRes", "CertificateInstallationRes"), "anything else is wrong with the chain"
    ),
    "WARNING_ChallengeInvalid": CodeUse(
        ("AuthorizationRes",), "GenChallenge is not the one that was given, or was used before (V2G20-2565, -2216)"
    ),
    "WARNING_EIMAuthorizationFailure": CodeUse(
        ("AuthorizationRes",), "external identification was refused, or nobody came (V2G20-2219, -2230)"
    ),
    "WARNING_eMSPUnknown": CodeUse(
        ("AuthorizationRes", "CertificateInstallationRes"), "the contract's root, provider or token is not known"
    ),
    "WARNING_EVPowerProfileViolation": CodeUse(
        _LOOPS, "the vehicle has exceeded what it was allowed for profile.warn_s (V2G20-1864)"
    ),
    "WARNING_GeneralPnCAuthorizationError": CodeUse(
        ("AuthorizationRes",), "the back end refuses for another reason, or does not answer in time"
    ),
    "WARNING_NoCertificateAvailable": CodeUse(
        ("CertificateInstallationRes",), "no back end, no answer within 55 s, or nothing that fits (V2G20-2207, -2225)"
    ),
    "WARNING_NoContractMatchingPCIDFound": CodeUse(
        ("CertificateInstallationRes",), "the back end's pool has no contract for this vehicle"
    ),
    "WARNING_PowerToleranceNotConfirmed": CodeUse(
        ("PowerDeliveryRes",), "the vehicle does not keep the band, and need not (profile.tolerance_required)"
    ),
    "WARNING_ScheduleRenegotiationFailed": CodeUse(
        (
            "ScheduleExchangeRes",
            "PowerDeliveryRes",
            "AC_ChargeParameterDiscoveryRes",
            "DC_ChargeParameterDiscoveryRes",
            "WPT_ChargeParameterDiscoveryRes",
        ),
        "no new schedule was found, or energy is being stopped: the old schedule stays",
    ),
    "WARNING_StandbyNotAllowed": CodeUse(("PowerDeliveryRes",), "the charger does not let vehicles rest, or not yet"),
    "WARNING_WPT": CodeUse(
        ("WPT_ChargeLoopRes",), "foreign object, living object or lost alignment: no power meanwhile"
    ),
    "FAILED": CodeUse(
        EVERY, "cable check, state of the control pilot, values that do not fit what was selected, too many attempts"
    ),
    "FAILED_AssociationError": CodeUse(
        (
            "WPT_FinePositioningSetupRes",
            "WPT_PairingRes",
            "WPT_AlignmentCheckRes",
            "ACDP_ConnectRes",
            "ACDP_DisconnectRes",
        ),
        "vehicle and device do not find each other, or the device does not come home",
    ),
    "FAILED_ContactorError": CodeUse(EVERY, "contactors did not open or close within contactor time, or are welded"),
    "FAILED_EVPowerProfileInvalid": CodeUse(
        ("PowerDeliveryRes",), "EVPowerProfile is missing, of another control mode, or beyond the schedule"
    ),
    "FAILED_EVPowerProfileViolation": CodeUse(
        _LOOPS, "the vehicle has exceeded what it was allowed for profile.fail_s (V2G20-1864)"
    ),
    "FAILED_MeteringSignatureNotValid": CodeUse(
        ("MeteringConfirmationRes",), "the reading, or its receipt, was not sent in this session, or is of another one"
    ),
    "FAILED_NoEnergyTransferServiceSelected": CodeUse(
        ("ServiceSelectionRes",), "the service that was selected for energy transfers none (V2G20-1618)"
    ),
    "FAILED_NoServiceRenegotiationSupported": CodeUse(
        ("SessionStopRes",), "services are to be selected again, which is not supported here (V2G20-1477)"
    ),
    "FAILED_PauseNotAllowed": CodeUse(("SessionStopRes",), "this session cannot be paused"),
    "FAILED_PowerDeliveryNotApplied": CodeUse(EVERY, "the power electronics have failed or report a fault that stops"),
    "FAILED_PowerToleranceNotConfirmed": CodeUse(
        ("PowerDeliveryRes",), "the vehicle does not keep the band, and has to (profile.tolerance_required)"
    ),
    "FAILED_ScheduleRenegotiation": CodeUse(
        ("ScheduleExchangeRes",), "no new schedule was found, and the old one is over"
    ),
    "FAILED_ScheduleSelectionInvalid": CodeUse(("PowerDeliveryRes",), "SelectedScheduleTupleID was not offered"),
    "FAILED_SequenceError": CodeUse(EVERY, "out of order, or a repetition that is not one (V2G20-459, -1582)"),
    "FAILED_ServiceIDInvalid": CodeUse(("ServiceDetailRes",), "the service was not offered (V2G20-425, -464)"),
    "FAILED_ServiceSelectionInvalid": CodeUse(
        ("ServiceSelectionRes",), "service or parameter set was not offered or not detailed (V2G20-433, -467)"
    ),
    "FAILED_SignatureError": CodeUse(
        ("AuthorizationRes", "CertificateInstallationRes", "MeteringConfirmationRes"),
        "the signature in the header is missing or wrong (V2G20-461)",
    ),
    "FAILED_UnknownSession": CodeUse(EVERY, "SessionID is another one's (V2G20-460)"),
    "FAILED_WrongChargeParameter": CodeUse(
        ("AC_ChargeParameterDiscoveryRes", "DC_ChargeParameterDiscoveryRes", "WPT_ChargeParameterDiscoveryRes"),
        "limits are impossible or not those of the selected service (V2G20-1619, -2272)",
    ),
}
"""Code -> its use, in the order of the schema."""
