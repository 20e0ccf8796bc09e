"""Association by wireless SDP: who answers whom, and which answer a vehicle goes by."""

from ipaddress import IPv6Address
from typing import Any

import pytest
from msgspec.structs import replace

from tests.together import together
from v2g.iso15118.d20.association import Behind, associate, belongs, positioning
from v2g.iso15118.d20.sdp_wireless import Diagnosis, Positioning, SdpWirelessRequest, SdpWirelessResponse
from v2g.iso15118.engine.sdp import Security, Transport

HERE = IPv6Address("fe80::1")
ONE = Behind(("DEV2GE00001",), frozenset({0x10}), HERE, 61000)
TWO = Behind(("DEV2GE00001*1", "DEV2GE00001*2"), frozenset({0x10}), HERE, 61000)
ASKED = SdpWirelessRequest(coupling=0x10)


@together(
    ("behind", "wish", "diagnosis", "evse_id"),
    [
        (ONE, {}, Diagnosis.FINISHED, "DEV2GE00001"),
        (ONE, {"coupling": 0xFF}, Diagnosis.FINISHED, "DEV2GE00001"),
        (ONE, {"evseid": "de*v2g*e00001"}, Diagnosis.FINISHED, "DEV2GE00001"),
        (ONE, {"coupling": 0x00}, Diagnosis.ERROR, ""),
        (TWO, {}, Diagnosis.FINISHED_WITHOUT_EVSEID, ""),
        (TWO, {"evseid": "DEV2GE00001*2"}, Diagnosis.FINISHED, "DEV2GE00001*2"),
        (replace(ONE, evse_ids=("E" * 38,)), {}, Diagnosis.FINISHED_WITHOUT_EVSEID, ""),  # it does not fit the answer
    ],
)
def test_what_a_charger_answers(behind: Behind, wish: dict[str, Any], diagnosis: Diagnosis, evse_id: str) -> None:
    answer = associate(replace(ASKED, **wish), behind)
    assert answer is not None
    assert (answer.diagnosis, answer.evseid, answer.address, answer.port) == (diagnosis, evse_id, HERE, 61000)
    assert belongs(replace(ASKED, **wish), answer) == (diagnosis is not Diagnosis.ERROR)


@pytest.mark.parametrize("wish", [{"evseid": "DEV2GE00009"}, {"transport": Transport.UDP}])
def test_another_charger_is_meant(wish: dict[str, Any]) -> None:
    assert associate(replace(ASKED, **wish), ONE) is None


def test_tls_is_what_there_is_unless_the_charger_is_open_without() -> None:
    bare = replace(ASKED, security=Security.NONE)
    for behind, where in ((ONE, (Security.TLS, 61000)), (replace(ONE, plain_port=61001), (Security.NONE, 61001))):
        answer = associate(bare, behind)
        assert answer is not None
        assert (answer.security, answer.port) == where


@together(
    ("diagnosis", "asked", "reported", "goes"),
    [
        (Diagnosis.ONGOING, "", "", False),
        (Diagnosis.ERROR, "", "", False),
        (Diagnosis.FINISHED, "", "E1", True),
        (Diagnosis.FINISHED, "E*1", "E1", True),
        (Diagnosis.FINISHED, "E2", "E1", False),
        (Diagnosis.FINISHED_WITHOUT_EVSEID, "", "", True),
        (Diagnosis.FINISHED_WITHOUT_EVSEID, "E1", "", False),
    ],
)
def test_which_answer_a_vehicle_goes_by(diagnosis: Diagnosis, asked: str, reported: str, goes: bool) -> None:
    answer = SdpWirelessResponse(address=HERE, port=1, diagnosis=diagnosis, evseid=reported)
    assert belongs(replace(ASKED, evseid=asked), answer) is goes


def test_methods_of_the_coil_are_sent_where_a_bit_stands_for_them() -> None:
    assert positioning(("Manual", "LPE")) == 0
    assert positioning(("LF_TxEV", "Optical")) == Positioning.WPT_LF_VEHICLE | Positioning.WPT_CAMERA_VEHICLE
    assert positioning(("LF_TxPrimaryDevice",)) == Positioning.WPT_LF_INFRASTRUCTURE
