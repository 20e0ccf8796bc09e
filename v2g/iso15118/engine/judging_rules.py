# ruff: noqa: E501 - a row of a table is a line
"""The rules by which vehicle and charger judge each other, each with its tolerance and source: data for docs and tests.

A rule is named by the reason or the response code that ends a session by it. A rule of which real devices are on the
other side is held against recordings of them (`tests/sessions/test_field_gate.py`) before it is changed. What is
tolerated instead is in `v2g.iso15118.engine.quirks`. A source "as V2G2-n" binds the charger, and is applied to the
vehicle alike. Clauses are cited as secondary sources have them.
"""

from typing import Final, NamedTuple

ALL: Final = "all"
OLDER: Final = "ISO 15118-2, DIN 70121"


class Rule(NamedTuple):
    """A rule: `judge` ends the session by `name` if `what` holds of the other side beyond `tolerance`."""

    judge: str
    name: str
    editions: str
    what: str
    tolerance: str
    source: str


_V, _C = "vehicle", "charger"
_LIMITS: Final = "a maximum of 0 A or 0 W is a pause; in older editions one of 0 V in the loop, and any minimum current"

RULES: Final = (
    Rule(_V, "evse_voltage_out_of_range", ALL, "EVSEPresentVoltage cannot be right",
         "-5 V; above, 110 % of the battery's maximum once the contactor is closed, nothing before",
         "IEC 61851-23; recordings: 35 of 62 outputs fall slowly before"),
    Rule(_V, "evse_current_out_of_range", ALL, "EVSEPresentCurrent flows out of a vehicle that only charges",
         "-5 A", "sensors of hundreds of amperes"),
    Rule(_V, "evse_limit_negative", ALL, "a limit of the charger is negative", "limits of discharge: any sign", "sources disagree on their sign only"),
    Rule(_V, "evse_limits_contradict", ALL, "the minimum voltage is above the maximum, or that is 0", _LIMITS, "meaning of the fields"),
    Rule(_V, "evse_not_ready", OLDER, "EVSE_NotReady in CurrentDemandRes", "any number below 1 A", "recorded: Compleo, pyPLC, before the loop"),
    Rule(_V, "evse_status_unknown", OLDER, "a reserved EVSEStatusCode, or one without a name", "none", "reserved by ISO and IEC"),
    Rule(_V, "insulation_fault", OLDER, "EVSEIsolationStatus is Fault, or not Valid or Warning after the cable check",
         "no status counts as Valid", "IEC 61851-23; recorded: chargers without the field"),
    Rule(_V, "evse_id_changed", "ISO 15118-2", "EVSEID of the loop is not that of SessionSetupRes",
         "case, separators, and an unknown one on either side", "meaning of the field"),
    Rule(_V, "schedule_changed", "ISO 15118-2", "SAScheduleTupleID of the loop is not the selected one", "none", "meaning of the field"),
    Rule(_V, "invalid_value", OLDER, "a value has the unit of another quantity", "no unit (DIN 70121)", "meaning of the units"),
    Rule(_V, "power_not_obeyed", ALL, "more current than requested",
         "1 A and 2.5 A, 5 % above 50 A, or the declared EVSECurrentRegulationTolerance with the ripple, at most 10 A; "
         "1.75 s to follow after the answer, then 1 s", "IEC 61851-23 (2.5 A or 5 %); recorded: 10 A constant beside PMax 50 W"),
    Rule(_V, "over_current", ALL, "more current than the battery bears", "1 A and 2.5 A, 5 % above 50 A; 0.75 s to follow, then 1 s", "IEC 61851-23"),
    Rule(_V, "over_voltage", ALL, "more voltage than the battery bears, with a closed contactor", "1 %, at least 5 V, 0.4 s; 10 % never", "IEC 61851-23"),
    Rule(_V, "voltage_not_asked_for", ALL, "voltage at the inlet without a request", "5 s after the last one, then 1 s", "IEC 61851-23: 5 s"),
    Rule(_V, "message_timeout", ALL, "an answer is late",
         "of the edition; CurrentDemand 5 s, ChargeParameterDiscovery and PowerDelivery 6 s in older ones", "timing tables; field notes of slow chargers"),
    Rule(_V, "pre_charge_timeout", ALL, "the voltage of the pre-charge is not reached",
         "7 s (10 s in -20); up to 20 s while it moves, in older ones", "V2G-DC-380; recorded: a Tesla Model Y waits 12 s"),
    Rule(_V, "cable_check_timeout", ALL, "the cable check does not end", "40 s", "timing tables"),
    Rule(_V, "authorization_timeout", ALL, "authorisation stays Ongoing", "60 s; 300 s for the customer", "timing tables"),
    Rule(_V, "parameters_timeout", ALL, "charge parameters stay Ongoing", "60 s", "timing tables"),
    Rule(_V, "incompatible_voltage", ALL, "the charger's range of voltage does not contain the battery's", "none", "nothing could flow"),
    Rule(_V, "wrong_charge_parameters", ALL, "parameters of another kind of current", "none", "as V2G2-477"),
    Rule(_V, "no_energy_service", OLDER, "no common kind of energy transfer", "any ServiceID", "as V2G2-467; recorded: ServiceID 4660 (Tesla)"),
    Rule(_V, "no_payment_option", OLDER, "no common way to pay", "none", "as V2G2-465"),
    Rule(_V, "no_session_id", ALL, "the charger gives no SessionID, or one that cannot be sent back", "1 to 8 octets", "as V2G2-750; recorded: 4 octets (Tesla)"),
    Rule(_V, "wrong_session_id", ALL, "a response has another SessionID", "zeros that pad it to 8 octets", "as V2G2-460"),
    Rule(_V, "joined_unknown_session", ALL, "a session is joined that was not asked for", "none", "as V2G2-463"),
    Rule(_V, "unknown_schema_id", ALL, "SchemaID of no offered protocol", "none, if one was offered", "as V2G2-169"),
    Rule(_V, "unexpected_message", ALL, "another response than the awaited one", "none", "as V2G2-538"),
    Rule(_V, "unexpected_response_code", ALL, "a code that has no place, or no name", "a plain OK of SessionSetupRes", "V2G2-734; recorded: ABB"),
    Rule(_V, "unlisted_value", ALL, "EVSEProcessing without a name", "every other field", "it decides what comes next"),
    Rule(_V, "undecodable_message", ALL, "no message of the edition", "0 to 4 zero octets after it; values beyond the schema; two frames without one", "recorded: a Tesla Model Y sends one octet"),
    Rule(_V, "evse_emergency_shutdown", OLDER, "EVSE_EmergencyShutdown", "none", "meaning of the field; recorded: Compleo without a battery"),
    Rule(_V, "evse_malfunction", OLDER, "EVSE_Malfunction", "none", "meaning of the field"),
    Rule(_V, "evse_utility_interrupt", OLDER, "EVSE_UtilityInterruptEvent", "none", "meaning of the field"),
    Rule(_V, "evse_rcd_fault", "ISO 15118-2", "RCD is true", "none", "meaning of the field"),
    Rule(_V, "evse_terminated", ALL, "StopCharging, Shutdown or Terminate", "NotificationMaxDelay", "meaning of the field"),
    Rule(_C, "FAILED_SequenceError", ALL, "a request that is out of order", "stops anywhere after SessionSetup", "V2G2-538; recorded: a Hyundai Ioniq, a Tesla Model Y"),
    Rule(_C, "FAILED_UnknownSession", ALL, "a request of another SessionID", "zeros that pad it to 8 octets", "V2G2-460; recorded: Tesla refuses, too"),
    Rule(_C, "FAILED_WrongChargeParameter", ALL, "limits that are negative, or below the charger's voltage",
         "fields that are missing, units that are missing", "V2G2-477, V2G-DC-398"),
    Rule(_C, "FAILED_WrongEnergyTransferMode", OLDER, "a kind of energy transfer that was not offered, or has no name", "none", "V2G2-476, V2G-DC-397"),
    Rule(_C, "FAILED_ServiceSelectionInvalid", ALL, "services that were not offered", "none", "V2G2-467"),
    Rule(_C, "FAILED_PaymentSelectionInvalid", OLDER, "a way to pay that was not offered", "none", "V2G2-465"),
    Rule(_C, "FAILED_ChargingProfileInvalid", OLDER, "a plan above PMax", "any plan, or none, unless `strict`", "V2G2-478; recorded: a Hyundai Ioniq sends none"),
    Rule(_C, "FAILED_TariffSelectionInvalid", OLDER, "a schedule that was not offered", "none", "V2G2-479"),
    Rule(_C, "pre_charge_not_reached", ALL, "power is started at another voltage than that of the pre-charge", "20 V", "IEC 61851-23"),
    Rule(_C, "sequence_timeout", ALL, "the next request is late", "60 s; 1 s in loops of -20", "V2G2-443, V2G20-1502"),
    Rule(_C, "pre_charge_timeout", ALL, "voltage waits for a vehicle that does not begin", "90 s; 20 s in DIN 70121", "policy: voltage does not wait for ever; V2G-DC-969"),
    Rule(_C, "welding_detection_timeout", "DIN 70121", "a vehicle goes on to detect welding", "20 s", "V2G-DC-925, -926"),
    Rule(_C, "unlisted_value", ALL, "a value without a name where it decides something", "every other field", "the answer is that of its field, else FAILED"),
    Rule(_C, "undecodable", ALL, "no message of the edition", "0 to 4 zero octets after it; values beyond the schema; two frames without one", "recorded: a Tesla Model Y"),
    Rule(_C, "over_voltage", ALL, "more voltage at the output than the vehicle bears", "110 %, 0.4 s", "IEC 61851-23"),
    Rule(_C, "vehicle_voltage_lowered", ALL, "a vehicle lowers its maximum below the output's voltage", "110 %, 0.4 s", "IEC 61851-23"),
    Rule(_C, "power_not_obeyed", "AC", "a vehicle draws more than allowed", "5 % and the meter's error, 5 s", "IEC 61851-1"),
)  # fmt: skip
"""Every rule, by judge: how a session ends by it."""
