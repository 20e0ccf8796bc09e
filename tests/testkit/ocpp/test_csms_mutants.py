"""Our back end with one fault in its frames at a time: each fails exactly the cases that say so.

Only cases in which the faulty frames occur are run: which, is known from a run without faults.
"""

from typing import Any

import pytest

from tests.csms.fixtures import Start
from tests.testkit.ocpp.csms_mutants import (
    CALL,
    CALLERROR,
    CALLRESULT,
    LONG_AGO,
    Edit,
    Mutant,
    Payload,
    add,
    drop,
    each,
    put,
    swap,
    token_status,
)
from tests.testkit.ocpp.csms_rig import CERTIFIED, SCHEDULED, SECURED, UNPRICED, csms_under_test
from v2g_testkit.cases.case import Result, Verdict
from v2g_testkit.ocpp.certificates import Authority
from v2g_testkit.ocpp.csms_cases.catalogue import CSMS_CASES


def group(value: str | None, when: str = "") -> Edit:
    """Answer tokens with a group, or none; all or those of one group."""

    def edit(payload: Payload) -> None:
        info = payload.get("idTokenInfo", {})
        if "groupIdToken" in info and when in ("", info["groupIdToken"]["idToken"]):
            if value is None:
                del info["groupIdToken"]
            else:
                info["groupIdToken"]["idToken"] = value

    return edit


def shorten(field: str) -> Edit:
    """Leave only the first element of a list."""

    def edit(payload: Payload) -> None:
        del payload[field][1:]

    return edit


ANOTHER = Authority("CSMSRootCertificate", "2026-01-01T00:00:00Z").leaf()

MUTANTS = (
    # A, security
    Mutant("requests to sign are refused", CALLRESULT, "SignCertificate", put("status", "Rejected"), "*"),
    Mutant("nothing is signed", CALL, "CertificateSigned", None, "*"),
    Mutant("what is signed is no certificate", CALL, "CertificateSigned", put("certificateChain", "none"), "*"),
    Mutant("another certificate is signed", CALL, "CertificateSigned", put("certificateChain", ANOTHER), "*"),
    Mutant("another kind is signed", CALL, "CertificateSigned", put("certificateType", "V2GCertificate"), "A_11 A_14"),
    Mutant("what is signed has no kind", CALL, "CertificateSigned", drop("certificateType"), "A_12"),
    # B, provisioning
    Mutant(
        "boot is answered Pending", CALLRESULT, "BootNotification", put("status", "Pending"), "B_01 B_02 V2G-B-01 B_31"
    ),
    Mutant(
        "boot is answered Rejected", CALLRESULT, "BootNotification", put("status", "Rejected"), "B_01 B_02 B_30 B_31"
    ),
    Mutant(
        "every boot is accepted", CALLRESULT, "BootNotification", put("status", "Accepted"), "B_02 B_30 V2G-B-01 B_31"
    ),
    Mutant(
        "a pending boot is rejected",
        CALLRESULT,
        "BootNotification",
        swap("status", {"Pending": "Rejected"}),
        "B_02 B_30 B_31",
    ),
    Mutant(
        "boot has an old time",
        CALLRESULT,
        "BootNotification",
        put("currentTime", LONG_AGO),
        "B_01 B_02 B_30 V2G-B-01 B_31",
    ),
    Mutant(
        "boot is answered by an error", CALLRESULT, "BootNotification", "InternalError", "B_01 B_02 B_30 V2G-B-01 B_31"
    ),
    Mutant("heartbeat has an old time", CALLRESULT, "Heartbeat", put("currentTime", LONG_AGO), "V2G-B-02 F_20"),
    Mutant("heartbeat has no real time", CALLRESULT, "Heartbeat", put("currentTime", "2026-13-01T00:00:00Z"), "*"),
    Mutant("heartbeat is not answered", CALLRESULT, "Heartbeat", None, "*"),
    Mutant("heartbeat has no time", CALLRESULT, "Heartbeat", drop("currentTime"), "*"),
    Mutant("unknown actions are another error", CALLERROR, "UnknownToAll", "GenericError", "V2G-B-04"),
    Mutant("wrong error before acceptance", CALLERROR, "StatusNotification", "NotSupported", "B_30 V2G-B-01"),
    Mutant("no error before acceptance", CALLERROR, "StatusNotification", None, "B_30 V2G-B-01"),
    Mutant(
        "a heartbeat is triggered",
        CALL,
        "TriggerMessage",
        put("requestedMessage", "Heartbeat"),
        "A_11 A_12 A_13 A_14 B_31 F_11 F_12 F_13 F_14 F_15 F_18 F_23 F_24 F_27",
    ),
    Mutant(
        "another variable is read", CALL, "GetVariables", put("getVariableData.0.variable.name", "Other"), "B_06 B_07"
    ),
    Mutant("only one variable is read", CALL, "GetVariables", shorten("getVariableData"), "B_07 B_08"),
    Mutant(
        "too many variables are read at once",
        CALL,
        "GetVariables",
        lambda sent: sent["getVariableData"].extend(sent["getVariableData"][:1] * (len(sent["getVariableData"]) == 4)),
        "B_08",
    ),
    Mutant("another value is set", CALL, "SetVariables", put("setVariableData.0.attributeValue", "124"), "B_09 B_10"),
    Mutant("a target is set", CALL, "SetVariables", each("setVariableData", add(attributeType="Target")), "B_09 B_10"),
    Mutant("only one variable is set", CALL, "SetVariables", shorten("setVariableData"), "B_10"),
    Mutant("every report is the full one", CALL, "GetBaseReport", put("reportBase", "FullInventory"), "B_12 B_14"),
    Mutant("the number of a report is negative", CALL, "GetBaseReport", put("requestId", -1), "B_12 B_13 B_14"),
    Mutant("reports are not acknowledged", CALLRESULT, "NotifyReport", None, "B_12 B_13 B_14 B_18"),
    Mutant("reports are answered by an error", CALLRESULT, "NotifyReport", "NotImplemented", "B_12 B_13 B_14 B_18"),
    Mutant("criteria are forgotten", CALL, "GetReport", drop("componentCriteria"), "B_18"),
    Mutant("another criterion is sent", CALL, "GetReport", put("componentCriteria", ["Active"]), "B_18"),
    Mutant(
        "the EVSE of a report is forgotten",
        CALL,
        "GetReport",
        lambda sent: sent["componentVariable"][0]["component"].pop("evse"),
        "B_18",
    ),
    Mutant("every reset is immediate", CALL, "Reset", put("type", "Immediate"), "B_20 B_21 B_25 B_26"),
    Mutant("every reset waits", CALL, "Reset", put("type", "OnIdle"), "B_22 B_27"),
    Mutant("an EVSE is reset instead of the station", CALL, "Reset", add(evseId=1), "B_20 B_21 B_22"),
    Mutant("the station is reset instead of an EVSE", CALL, "Reset", drop("evseId"), "B_25 B_26 B_27"),
    Mutant("no network profile is sent", CALL, "SetNetworkProfile", None, "B_42 B_44"),
    Mutant("another slot is set", CALL, "SetNetworkProfile", put("configurationSlot", 3), "B_42 B_44"),
    Mutant(
        "another security profile is set",
        CALL,
        "SetNetworkProfile",
        put("connectionData.securityProfile", 1),
        "B_42 B_44",
    ),
    Mutant(
        "connector states are answered by an error", CALLRESULT, "StatusNotification", "NotSupported", "B_01 B_02 B_31"
    ),
    Mutant("device events are answered by an error", CALLRESULT, "NotifyEvent", "NotSupported", "B_01 B_02 B_31"),
    # C, authorization
    Mutant("every token is accepted", CALLRESULT, "Authorize", token_status("Accepted"), "C_02 C_06 C_07"),
    Mutant(
        "no token is accepted",
        CALLRESULT,
        "Authorize",
        token_status("Invalid"),
        "V2G-C-01 V2G-C-04 C_39 C_43 E_01 E_02 E_10 E_11 E_03 E_04 E_53 F_02 J_08",
    ),
    Mutant("unknown tokens are accepted", CALLRESULT, "Authorize", token_status("Accepted", "Unknown"), "C_02"),
    Mutant("blocked tokens are accepted", CALLRESULT, "Authorize", token_status("Accepted", "Blocked"), "C_06"),
    Mutant("expired tokens are accepted", CALLRESULT, "Authorize", token_status("Accepted", "Expired"), "C_07"),
    Mutant("expired tokens are blocked", CALLRESULT, "Authorize", token_status("Blocked", "Expired"), "C_07"),
    Mutant(
        "authorization is not answered",
        CALLRESULT,
        "Authorize",
        None,
        "C_02 C_06 C_07 V2G-C-01 V2G-C-04 C_39 C_43 E_01 E_02 E_10 E_11 E_03 E_04 E_53 F_02 J_08",
    ),
    Mutant("authorization has no status", CALLRESULT, "Authorize", lambda sent: sent["idTokenInfo"].pop("status"), "*"),
    Mutant("authorization has no group", CALLRESULT, "Authorize", group(None), "C_39 C_43 C_47 C_48 C_49"),
    Mutant("the master pass has no group", CALLRESULT, "Authorize", group(None, "masters"), "C_47 C_48 C_49"),
    Mutant("authorization has another group", CALLRESULT, "Authorize", group("other"), "C_39 C_43 C_47 C_48 C_49"),
    Mutant("the cache is not cleared", CALL, "ClearCache", None, "C_37 C_38"),
    # D, local lists
    Mutant("lists are differences", CALL, "SendLocalList", put("updateType", "Differential"), "D_01 D_04"),
    Mutant("lists are full", CALL, "SendLocalList", put("updateType", "Full"), "D_02 D_03 N_46"),
    Mutant("lists have the version 0", CALL, "SendLocalList", put("versionNumber", 0), "D_01 D_02 D_03 D_04 N_46"),
    Mutant("lists are empty", CALL, "SendLocalList", drop("localAuthorizationList"), "D_01 D_02 D_03 N_46"),
    Mutant(
        "lists have a token twice",
        CALL,
        "SendLocalList",
        lambda sent: (
            "localAuthorizationList" in sent
            and sent["localAuthorizationList"].append(sent["localAuthorizationList"][0])
        ),
        "D_01 D_02 D_03",
    ),
    # E, transactions
    Mutant(
        "events accept every token",
        CALLRESULT,
        "TransactionEvent",
        token_status("Accepted"),
        "C_20 V2G-C-02 V2G-C-03 E_16",
    ),
    Mutant(
        "events accept no token",
        CALLRESULT,
        "TransactionEvent",
        token_status("Invalid"),
        "C_08 C_39 C_40 C_43 E_01 E_02 E_10 E_11 E_03 E_04 E_53 F_01 F_02 F_03 F_04 J_08 K_37",
    ),
    Mutant(
        "events accept unknown tokens", CALLRESULT, "TransactionEvent", token_status("Accepted", "Unknown"), "C_20 E_16"
    ),
    Mutant(
        "events accept blocked tokens", CALLRESULT, "TransactionEvent", token_status("Accepted", "Blocked"), "V2G-C-02"
    ),
    Mutant(
        "events do not answer tokens",
        CALLRESULT,
        "TransactionEvent",
        drop("idTokenInfo"),
        "C_08 C_20 V2G-C-02 C_39 C_40 C_43 V2G-C-03 E_01 E_02 E_10 E_11 E_03 E_04 E_16 E_53 F_01 F_02 F_03 F_04 J_08 "
        "K_37",
    ),
    Mutant("events have no group", CALLRESULT, "TransactionEvent", group(None), "C_39 C_40 C_43 C_47 C_48 C_49"),
    Mutant("events have the master pass's group", CALLRESULT, "TransactionEvent", group("masters"), "C_39 C_40 C_43"),
    Mutant(
        "events are answered by an error",
        CALLRESULT,
        "TransactionEvent",
        "InternalError",
        "V2G-C-03 E_01 E_02 E_10 E_11 E_09 E_12 E_04 E_16 E_53 F_02 F_03 F_04 J_07 J_08 K_37 P_03",
    ),
    Mutant("events are answered with an unknown field", CALLRESULT, "TransactionEvent", add(status="Accepted"), "*"),
    Mutant("no remote stop is sent", CALL, "RequestStopTransaction", None, "E_21"),
    Mutant("another transaction is stopped", CALL, "RequestStopTransaction", put("transactionId", "tx"), "E_21"),
    Mutant("the transaction is never named", CALL, "GetTransactionStatus", drop("transactionId"), "E_29 E_30 E_31"),
    Mutant(
        "a transaction is always named",
        CALL,
        "GetTransactionStatus",
        add(transactionId="tx"),
        "E_29 E_30 E_33 E_34 E_31",
    ),
    # F, remote control
    Mutant(
        "another token is started with",
        CALL,
        "RequestStartTransaction",
        put("idToken.idToken", "DEADBEEF"),
        "F_01 F_02 F_03 F_04 K_37",
    ),
    Mutant(
        "another type of token is started with",
        CALL,
        "RequestStartTransaction",
        put("idToken.type", "Central"),
        "F_01 F_02 F_03 F_04 K_37",
    ),
    Mutant("another EVSE is started", CALL, "RequestStartTransaction", put("evseId", 2), "F_01 F_02 F_03 F_04 K_37"),
    Mutant("another connector is unlocked", CALL, "UnlockConnector", put("connectorId", 2), "F_06"),
    Mutant("triggers have no EVSE", CALL, "TriggerMessage", drop("evse"), "F_11 F_13 F_23 F_24"),
    Mutant(
        "triggers always have an EVSE",
        CALL,
        "TriggerMessage",
        add(evse={"id": 1}),
        "F_12 F_14 F_23 F_24",
    ),
    Mutant("meter values are not acknowledged", CALLRESULT, "MeterValues", None, "F_11 F_12 J_01 J_02 V2G-J-01"),
    Mutant("firmware states are answered by an error", CALLRESULT, "FirmwareStatusNotification", "NotSupported", "*"),
    Mutant("log states are answered by an error", CALLRESULT, "LogStatusNotification", "NotSupported", "*"),
    # G, availability
    Mutant(
        "every change is to Inoperative",
        CALL,
        "ChangeAvailability",
        put("operationalStatus", "Inoperative"),
        "G_04 G_06 G_08",
    ),
    Mutant("every change is of the station", CALL, "ChangeAvailability", drop("evse"), "G_03 G_11 G_07 G_17"),
    Mutant("every change is of an EVSE", CALL, "ChangeAvailability", add(evse={"id": 1}), "G_05 G_14 G_07 G_17"),
    # K, smart charging
    Mutant(
        "profiles go to the station", CALL, "SetChargingProfile", put("evseId", 0), "K_01 K_19 K_04 K_70 K_15 K_60 K_02"
    ),
    Mutant(
        "profiles have another purpose",
        CALL,
        "SetChargingProfile",
        put("chargingProfile.chargingProfilePurpose", "TxProfile"),
        "K_01 K_03 K_10 K_19 K_04 K_70 K_15",
    ),
    Mutant(
        "profiles have another limit",
        CALL,
        "SetChargingProfile",
        put("chargingProfile.chargingSchedule.0.chargingSchedulePeriod.0.limit", 1.0),
        "K_01 K_03 K_10 K_19 K_04 K_70 K_15 K_60 K_02",
    ),
    Mutant(
        "profiles have another unit",
        CALL,
        "SetChargingProfile",
        put("chargingProfile.chargingSchedule.0.chargingRateUnit", "A"),
        "K_01 K_03 K_10 K_19 K_04 K_70 K_15 K_60 K_02",
    ),
    Mutant(
        "profiles are absolute",
        CALL,
        "SetChargingProfile",
        put("chargingProfile.chargingProfileKind", "Absolute"),
        "K_19 K_60 K_02",
    ),
    Mutant(
        "profiles name no transaction",
        CALL,
        "SetChargingProfile",
        lambda sent: sent["chargingProfile"].pop("transactionId", None),
        "K_60 K_02",
    ),
    Mutant(
        "profiles began years ago",
        CALL,
        "SetChargingProfile",
        put("chargingProfile.chargingSchedule.0.startSchedule", LONG_AGO),
        "K_01 K_03 K_10 K_19 K_04 K_70 K_15",
    ),
    Mutant(
        "profiles are valid for ever",
        CALL,
        "SetChargingProfile",
        lambda sent: sent["chargingProfile"].pop("validTo", None),
        "K_01 K_10 K_19",
    ),
    Mutant("every profile has the same id", CALL, "SetChargingProfile", put("chargingProfile.id", 1), "K_70"),
    Mutant("remote starts have no profile", CALL, "RequestStartTransaction", drop("chargingProfile"), "K_37"),
    Mutant(
        "remote starts have another profile",
        CALL,
        "RequestStartTransaction",
        put("chargingProfile.chargingProfilePurpose", "TxDefaultProfile"),
        "K_37",
    ),
    Mutant(
        "remote starts have another limit",
        CALL,
        "RequestStartTransaction",
        put("chargingProfile.chargingSchedule.0.chargingSchedulePeriod.0.limit", 1.0),
        "K_37",
    ),
    Mutant("no profile is named to be cleared", CALL, "ClearChargingProfile", drop("chargingProfileId"), "K_05"),
    Mutant(
        "all stack levels are cleared",
        CALL,
        "ClearChargingProfile",
        lambda sent: sent.get("chargingProfileCriteria", {}).pop("stackLevel", None),
        "K_06 K_08",
    ),
    Mutant(
        "profiles of all EVSEs are read", CALL, "GetChargingProfiles", drop("evseId"), "K_29 K_30 K_33 K_34 K_35 K_36"
    ),
    Mutant("profiles of one EVSE are read", CALL, "GetChargingProfiles", add(evseId=1), "K_29 K_31 K_32 K_52"),
    Mutant(
        "profiles of all purposes are read",
        CALL,
        "GetChargingProfiles",
        lambda sent: sent["chargingProfile"].pop("chargingProfilePurpose", None),
        "K_29 K_30 K_31 K_35 K_36 K_52",
    ),
    Mutant("reports of profiles are refused", CALLRESULT, "ReportChargingProfiles", "NotSupported", "*"),
    Mutant("schedules are read in A", CALL, "GetCompositeSchedule", put("chargingRateUnit", "A"), "*"),
    Mutant("the schedule of the station is read", CALL, "GetCompositeSchedule", put("evseId", 0), "K_43"),
    # P, data transfer
    Mutant("vendors' messages are accepted", CALLRESULT, "DataTransfer", put("status", "Accepted"), "P_02"),
)
MUTANTS += (
    # H, reservation
    Mutant("another EVSE is reserved", CALL, "ReserveNow", put("evseId", 2), "H_01 H_07 H_17 H_19 H_20 H_22"),
    Mutant("an EVSE is always reserved", CALL, "ReserveNow", add(evseId=1), "H_08 H_14 H_15"),
    Mutant("another type of connector is reserved", CALL, "ReserveNow", put("connectorType", "cCCS2"), "H_15"),
    Mutant("the group of a reservation is forgotten", CALL, "ReserveNow", drop("groupIdToken"), "H_19"),
    Mutant("every reservation has the same id", CALL, "ReserveNow", put("id", 1), "H_14"),
    Mutant("reservations have ended", CALL, "ReserveNow", put("expiryDateTime", LONG_AGO), "*"),
    Mutant("another reservation is cancelled", CALL, "CancelReservation", put("reservationId", 4711), "H_17"),
    Mutant("ends of reservations are refused", CALLRESULT, "ReservationStatusUpdate", "NotSupported", "H_20 H_07"),
    # J, meter values
    Mutant(
        "meter values have an answer", CALLRESULT, "MeterValues", add(status="Accepted"), "F_11 F_12 J_01 J_02 V2G-J-01"
    ),
)

MUTANTS += (
    # I, costs
    Mutant("the last event has no cost", CALLRESULT, "TransactionEvent", drop("totalCost"), "I_02"),
    Mutant("costs are negative", CALLRESULT, "TransactionEvent", put("totalCost", -1.0), "I_02"),
    Mutant("the cost of another transaction is told", CALL, "CostUpdated", put("transactionId", "tx"), "I_01"),
    # L, firmware
    Mutant(
        "firmware has no certificate",
        CALL,
        "UpdateFirmware",
        lambda sent: sent["firmware"].pop("signingCertificate"),
        "*",
    ),
    Mutant("firmware has no signature", CALL, "UpdateFirmware", lambda sent: sent["firmware"].pop("signature"), "*"),
    Mutant("firmware is installed at once", CALL, "UpdateFirmware", put("firmware.installDateTime", LONG_AGO), "L_02"),
    Mutant("firmware is fetched at once", CALL, "UpdateFirmware", put("firmware.retrieveDateTime", LONG_AGO), "L_03"),
    Mutant("updates are not tried again", CALL, "UpdateFirmware", drop("retries"), "V2G-L-01"),
    Mutant("updates have the same number", CALL, "UpdateFirmware", put("requestId", 7), "L_10 L_11"),
    Mutant("security events are refused", CALLRESULT, "SecurityEventNotification", "NotSupported", "A_14 L_05 L_06"),
    Mutant("another image is published", CALL, "PublishFirmware", put("location", "https://example.org"), "*"),
    Mutant("another image is unpublished", CALL, "UnpublishFirmware", put("checksum", "0" * 32), "*"),
    # M, certificates
    Mutant(
        "every root is the maker's",
        CALL,
        "InstallCertificate",
        put("certificateType", "ManufacturerRootCertificate"),
        "M_01 M_03 M_04 M_05",
    ),
    Mutant(
        "what is installed is no certificate",
        CALL,
        "InstallCertificate",
        put("certificate", "none"),
        "M_01 M_02 M_03 M_04 M_05",
    ),
    Mutant(
        "certificates of every use are read",
        CALL,
        "GetInstalledCertificateIds",
        drop("certificateType"),
        "M_12 M_13 M_14 M_15 M_16 M_17 M_19",
    ),
    Mutant(
        "certificates of one use are read",
        CALL,
        "GetInstalledCertificateIds",
        add(certificateType=["CSMSRootCertificate"]),
        "M_13 M_14 M_15 M_16 M_17 M_18 M_19",
    ),
    Mutant(
        "certificates are deleted by another hash",
        CALL,
        "DeleteCertificate",
        put("certificateHashData.hashAlgorithm", "SHA256"),
        "M_20",
    ),
    Mutant(
        "another certificate is deleted",
        CALL,
        "DeleteCertificate",
        put("certificateHashData.serialNumber", "4e"),
        "M_20 M_21",
    ),
    # N, diagnostics
    Mutant(
        "reports are of thresholds",
        CALL,
        "GetMonitoringReport",
        put("monitoringCriteria", ["ThresholdMonitoring"]),
        "N_01 N_03 N_60",
    ),
    Mutant(
        "monitors of all variables are read", CALL, "GetMonitoringReport", drop("componentVariable"), "N_02 N_03 N_60"
    ),
    Mutant("deltas are always read", CALL, "GetMonitoringReport", add(monitoringCriteria=["DeltaMonitoring"]), "*"),
    Mutant("reports of monitors are refused", CALLRESULT, "NotifyMonitoringReport", "NotSupported", "*"),
    Mutant("every base is All", CALL, "SetMonitoringBase", put("monitoringBase", "All"), "N_05"),
    Mutant("another level is set", CALL, "SetMonitoringLevel", put("severity", 5), "N_16 N_17"),
    Mutant(
        "monitors have another severity",
        CALL,
        "SetVariableMonitoring",
        each("setMonitoringData", put("severity", 2)),
        "N_08 N_09",
    ),
    Mutant("only one monitor is set", CALL, "SetVariableMonitoring", shorten("setMonitoringData"), "N_09"),
    Mutant("three monitors are cleared", CALL, "ClearVariableMonitoring", put("id", [101, 102, 103]), "N_18 N_44"),
    Mutant("every log is the security log", CALL, "GetLog", put("logType", "SecurityLog"), "N_25 N_34 N_36 V2G-N-01"),
    Mutant(
        "logs have no first time", CALL, "GetLog", lambda sent: sent["log"].pop("oldestTimestamp", None), "V2G-N-01"
    ),
    Mutant("logs are not tried again", CALL, "GetLog", drop("retryInterval"), "V2G-N-01"),
    Mutant("logs have no address", CALL, "GetLog", put("log.remoteLocation", "logs"), "*"),
    Mutant(
        "logs end before they begin",
        CALL,
        "GetLog",
        lambda sent: sent["log"].update(oldestTimestamp="2026-01-02T00:00:00Z", latestTimestamp="2026-01-01T00:00:00Z"),
        "N_25 N_34 N_35 N_36 V2G-N-01",
    ),
    Mutant("logs have the same number", CALL, "GetLog", put("requestId", 7), "N_36"),
    Mutant(
        "customers' data is never reported",
        CALL,
        "CustomerInformation",
        add(report=False),
        "N_27 N_28 N_29 N_30 N_31 N_46 N_62 N_63",
    ),
    Mutant(
        "customers' data is never cleared",
        CALL,
        "CustomerInformation",
        add(clear=False),
        "N_30 N_31 N_32 N_46 N_62 N_63",
    ),
    Mutant("customers are named in two ways", CALL, "CustomerInformation", add(customerIdentifier="x"), "*"),
    Mutant("customers' data is refused", CALLRESULT, "NotifyCustomerInformation", "NotSupported", "*"),
    # O, display messages
    Mutant(
        "messages are in front",
        CALL,
        "SetDisplayMessage",
        put("message.priority", "InFront"),
        "O_01 O_06 O_10 O_13 O_14 O_17 O_18 O_19 O_25 O_26 O_27 O_28",
    ),
    Mutant("messages have the same id", CALL, "SetDisplayMessage", put("message.id", 7), "O_01"),
    Mutant(
        "replaced messages have a new id",
        CALL,
        "SetDisplayMessage",
        lambda sent: sent["message"].update({"id": 99} if sent["message"]["priority"] == "InFront" else {}),
        "O_12",
    ),
    Mutant(
        "messages are for every state",
        CALL,
        "SetDisplayMessage",
        lambda sent: sent["message"].pop("state", None),
        "O_01 O_18 O_25 O_28",
    ),
    Mutant("messages are over", CALL, "SetDisplayMessage", put("message.endDateTime", LONG_AGO), "O_14 O_28"),
    Mutant(
        "messages are of no transaction",
        CALL,
        "SetDisplayMessage",
        lambda sent: sent["message"].pop("transactionId", None),
        "O_06 O_10 O_27 O_28",
    ),
    Mutant("another message is asked for", CALL, "GetDisplayMessages", put("id", [99]), "O_07 O_11"),
    Mutant("messages of every priority are asked for", CALL, "GetDisplayMessages", drop("priority"), "O_08"),
    Mutant("reports of messages are refused", CALLRESULT, "NotifyDisplayMessages", "NotSupported", "*"),
    Mutant("another message is cleared", CALL, "ClearDisplayMessage", put("id", 99), "O_04 O_05"),
)

MUTANTS += (
    # K, limits of other systems
    Mutant("external limits are refused", CALLRESULT, "NotifyChargingLimit", "NotSupported", "*"),
    Mutant("released limits are refused", CALLRESULT, "ClearedChargingLimit", "NotSupported", "*"),
)

CASES = [case for case in CSMS_CASES if case.id not in SECURED | SCHEDULED | CERTIFIED]
"""The others need another back end, and have mutants of their own."""

_shown: dict[str, set[tuple[int, str]]] = {}
_results: list[Result] = []


async def frames_of_cases(backend: Start) -> dict[str, set[tuple[int, str]]]:
    """Return the kinds and actions of the back end's frames in each case, without faults; keep the results."""
    if not _shown:
        found: set[tuple[int, str]] = set()

        def note(action: str, frame: list[Any]) -> list[Any]:
            found.add((frame[0], action))
            return frame

        async with csms_under_test(backend, change=note, compared=True) as tester:
            for case in CASES:
                found.clear()
                _results.append(await tester.run(case))
                _shown[case.id] = set(found)
    return _shown


def named(mutant: Mutant) -> set[str]:
    """Return the cases that a mutant names as those that fail."""
    return {f"{name}-CSMS" if name.startswith("V2G") else f"TC_{name}_CSMS" for name in mutant.fails.split()}


async def check(backend: Start, mutant: Mutant, expected: set[str], run: set[str]) -> None:
    """Run some cases with a mutant: these must fail."""
    failed = set()
    async with csms_under_test(backend, change=mutant.change) as tester:
        for case in CASES:
            if case.id in run:
                result = await tester.run(case)
                if result.verdict is Verdict.FAIL:
                    failed.add(case.id)
    assert failed == expected


@pytest.mark.long
@pytest.mark.one_worker("frames of cases")  # which one worker has to find out
async def test_our_back_end_passes_in_2_0_1(backend: Start, subtests: pytest.Subtests) -> None:
    await frames_of_cases(backend)
    for case, result in zip(CASES, _results, strict=True):
        if case.id not in UNPRICED:
            with subtests.test(case.id):
                expected = Verdict.PASS if "2.0.1" in case.versions else Verdict.NOT_APPLICABLE
                assert result.verdict is expected, result.found


@pytest.mark.long
@pytest.mark.one_worker("frames of cases")
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
async def test_a_faulty_back_end_fails_exactly_the_cases_about_it(backend: Start, mutant: Mutant) -> None:
    shown = await frames_of_cases(backend)
    shows = {case for case, frames in shown.items() if (mutant.kind, mutant.action) in frames}
    expected = shows if mutant.fails == "*" else named(mutant)
    await check(backend, mutant, expected, expected | shows)


async def test_a_faulty_back_end_fails_the_cases_about_it(backend: Start) -> None:
    """Beside those, every tenth case is run, which the fault does not concern."""
    (mutant,) = (each for each in MUTANTS if each.name == "boot is answered Pending")
    expected = named(mutant)
    await check(backend, mutant, expected, expected | {case.id for case in CASES[::10]})
