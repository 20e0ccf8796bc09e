"""Receipts of ISO 15118-2: required of contracts once an interval, verified, and journaled."""

from typing import Any

import pytest
from msgspec.structs import replace

from pki_tools.tree import PkiTree
from secc.session import ports
from tests.io.tls.support import pki_2
from tests.secc.session.d2.conftest import MakeIso2
from tests.secc.session.d2.contract_bench import BOTH, ContractBench, code
from v2g.energy.settlement.records import MeteringConfirmed
from v2g.errors import CodecError, SignatureError
from v2g.iso15118.d2.messages.data_types import MeterInfo
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.signed_requests import read_confirmation

pytestmark = pytest.mark.requirement("R15")

__all__ = ["pki_2"]

WRONG = "FAILED_MeteringSignatureNotValid"


@pytest.fixture(params=[False, True], ids=["dc", "ac"])
def alternating(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def bench(pki_2: PkiTree, alternating: bool) -> ContractBench:  # the fixture above
    return ContractBench(pki_2, alternating=alternating).charge()


def loop(bench: ContractBench) -> Any:
    return bench.go("ChargingStatusReq" if bench.alternating else "CurrentDemandReq")


def metered(bench: ContractBench, import_mwh: int) -> None:
    bench.import_mwh = import_mwh
    bench.fact(ports.MeterRead(bench.utc_ms, import_mwh, 2_000_000))


def asked(bench: ContractBench, import_mwh: int = 6_234_000) -> MeterInfo:
    """Return the reading for which a receipt is required."""
    metered(bench, import_mwh)
    bench.fact(ports.MeteringConfirmationRequested())
    response = loop(bench)
    assert response.receipt_required
    status = response.ac_evse_status if bench.alternating else response.dc_evse_status
    assert status.evse_notification.value == "None", "a receipt is no renegotiation"
    assert status.notification_max_delay == 0, "nor is there anything to follow in time"
    info = response.meter_info
    assert isinstance(info, MeterInfo)
    return info


def receipt(bench: ContractBench, info: MeterInfo, **changes: Any) -> Any:
    fields = {"session_id": bench.session.session_id, "sa_schedule_tuple_id": 1, "meter_info": info, "id": "id1"}
    return bench.send(bench.ask("MeteringReceiptReq", **{**fields, **changes}))


def confirmed(bench: ContractBench) -> list[bytes]:
    records = (each.record for each in bench.commands(ports.Journal))
    return [each.payload for each in records if isinstance(each, MeteringConfirmed)]


def test_a_receipt_is_required_once_an_interval_and_journaled(bench: ContractBench, pki_2: PkiTree) -> None:
    assert not loop(bench).receipt_required
    info = asked(bench)
    assert info.meter_reading == 1_234
    assert bench.session.state in (State.AC_METERING_RECEIPT, State.DC_METERING_RECEIPT)
    response = receipt(bench, info)
    assert code(response) == "OK"
    assert (type(response.evse_status).__name__ == "AC_EVSEStatus") == bench.alternating
    (payload,) = confirmed(bench)
    assert read_confirmation(payload, pki_2.key("contract").public_key) == (bench.session.session_id, 1_234, 0)
    assert bench.events("confirmed")[0]["charged_wh"] == 1_234
    assert not loop(bench).receipt_required
    assert "signature_form" not in bench.quirks()


def test_each_interval_has_its_receipt(bench: ContractBench) -> None:
    for energy in (1, 2, 3):
        assert code(receipt(bench, asked(bench, 6_000_000 + energy * 1_000))) == "OK"
    assert len(confirmed(bench)) == 3


def test_the_same_reading_again_does_not_fill_the_journal(bench: ContractBench) -> None:
    for _ in range(2):
        info = asked(bench)
        assert code(receipt(bench, info)) == "OK"
    assert len(confirmed(bench)) == 1


def test_a_receipt_that_does_not_come_ends_nothing(bench: ContractBench) -> None:
    asked(bench)
    for _ in range(130):
        bench.pass_time(0.5)
        response = loop(bench)
    assert not response.receipt_required
    assert not bench.reason
    assert not confirmed(bench)


def test_a_receipt_of_an_earlier_loop_counts_while_it_is_required(bench: ContractBench) -> None:
    info = asked(bench)
    bench.fact(ports.MeterRead(bench.utc_ms, 6_500_000, 2_000_000))
    assert loop(bench).receipt_required
    assert code(receipt(bench, info)) == "OK"


@pytest.mark.parametrize("wrong", ["reading", "meter", "session", "schedule", "key", "unsigned", "altered"])
def test_a_wrong_receipt_ends_the_session(bench: ContractBench, wrong: str) -> None:
    """V2G2-481."""
    info = asked(bench)
    changes: dict[str, Any] = {}
    match wrong:
        case "reading":
            info = replace(info, meter_reading=1_233)
        case "meter":
            info = replace(info, meter_id="METER-0002")
        case "session":
            changes = {"session_id": b"somebody"}
        case "schedule":
            changes = {"sa_schedule_tuple_id": 2}
        case "key":
            bench.key = bench.provisioning
        case "unsigned":
            bench.signs = False
        case "altered":
            bench.alters = True
    assert code(receipt(bench, info, **changes)) == WRONG
    assert not confirmed(bench)
    assert bench.commands(ports.EmergencyOff)
    bench.pass_time(2.0)
    assert bench.reason == WRONG


def test_a_receipt_of_another_connection_is_refused(bench: ContractBench) -> None:
    info = asked(bench)
    fields = {"session_id": bench.session.session_id, "meter_info": info, "id": "id1"}
    response = bench.send(bench.ask("MeteringReceiptReq", **fields), session_id=b"somebody")
    assert code(response) == "FAILED_UnknownSession"
    assert not confirmed(bench)


def test_a_receipt_that_was_not_required_is_out_of_order(bench: ContractBench) -> None:
    info = asked(bench)
    receipt(bench, info)
    loop(bench)
    assert code(receipt(bench, info)) == "FAILED_SequenceError"


def test_external_payment_gives_no_receipt(make_iso2: MakeIso2, alternating: bool) -> None:
    """V2G2-691."""
    bench = make_iso2(alternating=alternating)
    bench.reach(State.AC_CHARGE_LOOP if alternating else State.DC_CHARGE_LOOP)
    bench.fact(ports.MeteringConfirmationRequested())
    response = bench.go("ChargingStatusReq" if alternating else "CurrentDemandReq")
    assert response.receipt_required is False


def test_a_charger_may_be_configured_without_receipts(pki_2: PkiTree, alternating: bool) -> None:
    config = replace(BOTH, metering_confirmation=False)
    bench = ContractBench(pki_2, config, alternating=alternating).charge()
    bench.fact(ports.MeteringConfirmationRequested())
    assert loop(bench).receipt_required is False


def test_a_vehicle_that_is_to_stop_confirms_the_last_reading(bench: ContractBench) -> None:
    """No message after the loop carries a receipt."""
    metered(bench, 6_234_000)
    bench.fact(ports.StopRequested("operator"))
    response = loop(bench)
    assert response.receipt_required
    status = response.ac_evse_status if bench.alternating else response.dc_evse_status
    assert status.evse_notification.value == "StopCharging"
    assert code(receipt(bench, response.meter_info)) == "OK"
    assert loop(bench).receipt_required is False
    assert code(bench.stop()) == "OK"
    (payload,) = confirmed(bench)
    assert read_confirmation(payload, bench.tree.key("contract").public_key)[1] == 1_234


def test_a_vehicle_that_is_to_stop_may_do_so_at_once(bench: ContractBench) -> None:
    metered(bench, 6_234_000)
    bench.fact(ports.StopRequested("operator"))
    assert loop(bench).receipt_required
    assert code(bench.stop()) == "OK"
    assert not bench.reason


def test_a_stop_asks_for_no_second_receipt_and_an_emergency_for_none(
    pki_2: PkiTree, alternating: bool, subtests: pytest.Subtests
) -> None:
    for reason, signed in (("operator", True), ("emergency_stop", False)):
        with subtests.test(reason=reason):
            bench = ContractBench(pki_2, alternating=alternating).charge()
            info = asked(bench)
            if signed:
                assert code(receipt(bench, info)) == "OK"
            bench.fact(ports.StopRequested(reason))
            assert loop(bench).receipt_required is False


def test_a_vehicle_that_has_finished_is_asked_once(pki_2: PkiTree) -> None:
    """ChargingComplete announces the end."""
    bench = ContractBench(pki_2).charge()
    metered(bench, 6_234_000)
    response = bench.send(bench.ask("CurrentDemandReq", charging_complete=True))
    assert response.receipt_required
    assert code(receipt(bench, response.meter_info)) == "OK"
    metered(bench, 6_300_000)
    assert not bench.send(bench.ask("CurrentDemandReq", charging_complete=True)).receipt_required


def test_what_is_no_receipt_of_this_key_is_no_evidence(bench: ContractBench, pki_2: PkiTree) -> None:
    receipt(bench, asked(bench))
    (payload,) = confirmed(bench)
    with pytest.raises(SignatureError):
        read_confirmation(payload, pki_2.key("provisioning").public_key)
    with pytest.raises((CodecError, SignatureError)):
        read_confirmation(payload[:-40], pki_2.key("contract").public_key)


def test_a_meter_that_goes_back_ends_no_session(bench: ContractBench) -> None:
    """It was changed, or set back: its reading of this session is unknown."""
    metered(bench, 4_999_999)
    bench.fact(ports.MeteringConfirmationRequested())
    response = loop(bench)
    assert (code(response), response.meter_info, response.receipt_required) == ("OK", None, False)
    metered(bench, 5_000_000)
    assert loop(bench).meter_info.meter_reading == 0
