"""A charger's metrics, as the library of Prometheus reads them."""

from prometheus_client.parser import text_string_to_metric_families

from secc.status import (
    Board,
    ChargerStatus,
    CsmsShown,
    EvseShown,
    FaultShown,
    InterlockShown,
    MeterShown,
    ModemShown,
    Safety,
    StageShown,
)
from secc.status_page import metrics


def read(status: ChargerStatus) -> dict[tuple[str, str], float]:
    """Return value by name and EVSE."""
    families = text_string_to_metric_families(metrics(status).decode())
    samples = [sample for family in families for sample in family.samples]
    return {
        (each.name.removeprefix("v2g_charger_"), each.labels.get("evse", "")): each.value
        for each in samples
        if "event" not in each.labels
    }


def fault(*, stops: bool) -> FaultShown:
    return FaultShown("power_not_obeyed", "", stops=stops, until="cleared")


def test_every_figure_of_the_picture_is_there_by_evse() -> None:
    charging = EvseShown(
        1,
        "DE*ABC*E1",
        "Occupied",
        stage=StageShown(voltage_mv=400_500, current_ma=-25_000, power_w=-10_012),
        meter=MeterShown(answers=True, import_mwh=16_576_000, export_mwh=3_334_500, signature="signed"),
        interlock=InterlockShown("closed"),
        modem=ModemShown(state="matched"),
    )
    broken = EvseShown(
        2,
        "DE*ABC*E2",
        "Faulted",
        board=Board(state="lost"),
        meter=MeterShown(answers=False, signature="expired"),
        modem=ModemShown(state="lost"),
        interlock=InterlockShown(faults=(fault(stops=True), fault(stops=False))),
        safety=Safety("opened", "power", 1_795_342_011_335),
    )
    connected = CsmsShown("connected", attempts=0)
    found = read(ChargerStatus(2_000, 1_000, defects=3, csms=connected, evses=(charging, broken)))
    whole = {"updated_seconds": 2, "started_seconds": 1, "defects_total": 3, "csms_answers": 1, "csms_attempts": 0}
    assert {name: found.pop((name, "")) for name in whole} == whole
    by_evse = {
        "available": (0, 0),
        "occupied": (1, 0),
        "faults": (0, 2),
        "stopping_faults": (0, 1),
        "volts": (400.5, 0),
        "amperes": (-25, 0),
        "watts": (-10_012, 0),
        "contactor_closed": (1, 0),
        "board_answers": (1, 0),
        "meter_answers": (1, 0),
        "meter_signs": (1, 0),
        "modem_lost": (0, 1),
        "safety_opened_seconds": (0, 1_795_342_011.335),
        "import_watthours_total": (16_576, 0),
        "export_watthours_total": (3_334.5, 0),
    }
    assert found == {
        (name, evse): value for name, both in by_evse.items() for evse, value in zip("12", both, strict=True)
    }


def test_warnings_and_errors_are_counted_from_nought() -> None:
    families = text_string_to_metric_families(metrics(ChargerStatus(0, events={"safety.opened": 2})).decode())
    counts = {each.labels["event"]: each.value for family in families for each in family.samples if each.labels}
    assert counts.pop("safety.opened") == 2
    assert {"session.timeout", "hardware.fault_began", "ocpp.csms_disconnected"} < counts.keys()
    assert set(counts.values()) == {0}
    assert not {"loop.response", "power.started", "session.implausible_response"} & counts.keys()


def test_a_back_end_that_is_silent_or_not_there_does_not_answer() -> None:
    for csms in (
        CsmsShown("connected", silent=True),
        CsmsShown("registering"),
        CsmsShown("none"),
        CsmsShown("disconnected", attempts=7),
    ):
        found = read(ChargerStatus(0, csms=csms))
        assert (found["csms_answers", ""], found["csms_attempts", ""]) == (0, csms.attempts)


def test_a_last_verdict_that_only_lowered_is_no_opening() -> None:
    evse = EvseShown(1, "DE*ABC*E1", safety=Safety("lowered", "power", 5_000))
    assert read(ChargerStatus(0, evses=(evse,)))["safety_opened_seconds", "1"] == 0
