"""What an operator may send to a station, and by which permission."""

import pytest

from csms.accounts.rules import Permission
from csms.requests.rules import COMMANDS, check_own_variables, permission_to_set, unknown_action
from tests.together import together
from v2g.errors import RefusedError
from v2g.ocpp.messages.base import Component, Variable
from v2g.ocpp.messages.provisioning import SetVariableData

ABOVE = {
    "SetNetworkProfile": Permission.ADMIT_STATIONS,
    "SendLocalList": Permission.WRITE_TOKENS,
    "ClearCache": Permission.WRITE_TOKENS,
    "SetDefaultTariff": Permission.WRITE_TARIFFS,
    "ChangeTransactionTariff": Permission.WRITE_TARIFFS,
    "SetChargingProfile": Permission.WRITE_ENERGY,
    "SetDERControl": Permission.WRITE_ENERGY,
    "UpdateFirmware": Permission.WRITE_MAINTENANCE,
    "SignedUpdateFirmware": Permission.WRITE_MAINTENANCE,
    "InstallCertificate": Permission.WRITE_CERTIFICATES,
    "DeleteCertificate": Permission.WRITE_CERTIFICATES,
    "CertificateSigned": Permission.WRITE_CERTIFICATES,
    "RequestStartTransaction": Permission.COMMAND_STATIONS,
    "RemoteStopTransaction": Permission.COMMAND_STATIONS,
    "Reset": Permission.COMMAND_STATIONS,
    "UsePriorityCharging": Permission.WRITE_ENERGY,
}


def test_a_command_that_changes_trust_money_power_or_software_needs_its_own_permission() -> None:
    assert {each: COMMANDS[each] for each in ABOVE} == ABOVE
    assert list(COMMANDS) == sorted(COMMANDS)


def test_an_unknown_action_is_named_with_the_nearest_one() -> None:
    said = unknown_action("Resett")
    assert said == ("'Resett' is not an OCPP action that a CSMS can send", "did you mean 'Reset'?")
    assert unknown_action("Q" * 60)[0].startswith(f"'{'Q' * 50}' is not")
    assert unknown_action("Q" * 60)[1].startswith("allowed: AFRRSignal, ")


def variable(component: str, name: str) -> SetVariableData:
    return SetVariableData(component=Component(name=component), variable=Variable(name=name), attribute_value="1")


PLAIN = variable("OCPPCommCtrlr", "HeartbeatInterval")


@together("name", ["URLTemplate", "TOTPVersion", "ValidityTime", "Length", "SharedSecret", "sharedsecret"])
def test_what_a_qr_code_is_made_of_is_set_by_the_back_end_alone(name: str) -> None:
    with pytest.raises(RefusedError) as refused:
        check_own_variables([PLAIN, variable("WebPaymentsCtrlr", name)])
    assert (refused.value.reason, refused.value.hint) == (
        "own_variable", "v2g csms request POST /stations/STATION/qr-codes"
    )  # fmt: skip
    assert str(refused.value) == f"the back end verifies QR codes by {name}, so it sets it itself"
    check_own_variables([PLAIN, variable("OtherCtrlr", name), variable("WebPaymentsCtrlr", "Enabled")])


@together(
    ("component", "name", "permission"),
    [
        ("SecurityCtrlr", "BasicAuthPassword", Permission.ADMIT_STATIONS),
        ("securityctrlr", "OrganizationName", Permission.ADMIT_STATIONS),
        ("NetworkConfiguration", "OcppCsmsUrl", Permission.ADMIT_STATIONS),
        ("OCPPCommCtrlr", "NetworkConfigurationPriority", Permission.ADMIT_STATIONS),
        ("OCPPCommCtrlr", "NetworkProfileConnectionAttempts", Permission.ADMIT_STATIONS),
        ("OCPPCommCtrlr", "WebSocketPingInterval", Permission.COMMAND_STATIONS),
        ("TxCtrlr", "EVConnectionTimeOut", Permission.COMMAND_STATIONS),
    ],
)
def test_how_a_station_is_reached_is_for_those_who_admit_it(component: str, name: str, permission: Permission) -> None:
    """One such variable among others is enough."""
    wanted = variable(component, name)
    for variables in ([wanted], [PLAIN, wanted], [wanted, PLAIN]):
        assert permission_to_set(variables) is permission
    assert permission_to_set([]) is Permission.COMMAND_STATIONS
