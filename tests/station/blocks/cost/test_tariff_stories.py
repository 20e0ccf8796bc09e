"""Functional block I, tariff and cost: tariffs and costs that the station works out (2.1)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.station.bench import FIXED, START_MS, Bench, Payload, Refused, at
from tests.station.charging import bench
from tests.station.profiles import transaction
from tests.station.tariffs import (
    FAILED,
    HOUR,
    INTERVAL,
    LOOKS,
    MAX,
    RUNNING,
    assigned,
    authorizes,
    begin,
    change,
    charge,
    end,
    many,
    priced,
    station,
    tariff,
    tariff_of,
    total,
)
from tests.together import together
from v2g_station.blocks.cost.local_cost import ShowCost
from v2g_station.blocks.cost.tariffs import ShowTariff

CONDITIONS = "TariffCostCtrlr.ConditionsSupported[Tariff]"


# -- default tariffs (I07)


def test_default_tariff_valid_from() -> None:
    later = at(START_MS + HOUR * 1000)
    found = station(tariff("now"), tariff("later", 1.0, validFrom=later))
    assert {each["tariffId"]: each.get("validFrom") for each in assigned(found)} == {"now": None, "later": later}
    assert tariff_of(begin(found)) == "now"
    found.wait(HOUR + 1)
    assert [each["tariffId"] for each in assigned(found)] == ["later"]  # I07.FR.20
    assert tariff_of(begin(found, "TAG-2", 2)) == "later"
    found.meter_mwh[1] += 10_000_000
    assert total(end(found)) == (5.0, 6.0)  # I07.FR.24: by the tariff that it began with


def test_default_tariff_by_time_of_day() -> None:
    night = priced((0.4, {"startTimeOfDay": "08:00", "endTimeOfDay": "23:00"}), (0.2, {}))
    found = station(night, variables={"ClockCtrlr.TimeZone": "Europe/Berlin"})  # it is 22:30 there
    begin(found)
    charge(found, 60, 10_000)
    event = end(found)
    assert total(event)[0] == 3.0
    periods = event["costDetails"]["chargingPeriods"]
    assert [period["startPeriod"] for period in periods] == [at(START_MS), at(START_MS + 1_800_000)]
    assert [_volume(period, "Energy") for period in periods] == [5000, 5000]


def _volume(period: Payload, kind: str) -> float:
    found: float = next(each["volume"] for each in period["dimensions"] if each["type"] == kind)
    return found


def test_a_default_tariff_replaces_what_held_before_it_and_not_what_holds_after() -> None:
    future, past = at(START_MS + HOUR * 1000), at(START_MS - HOUR * 1000)
    found = station(tariff("a", validFrom=future), tariff("b"), tariff("c"))
    assert [each["tariffId"] for each in assigned(found)] == ["a", "c"]  # I07.FR.22, .23
    found.ask("SetDefaultTariff", evseId=0, tariff=tariff("d", validFrom=past))
    assert [each["tariffId"] for each in assigned(found)] == ["a", "d"]  # I07.FR.20
    found.ask("SetDefaultTariff", evseId=2, tariff=tariff("e"))
    places = {each["tariffId"]: each["evseIds"] for each in assigned(found)}
    assert places == {"a": [1, 2], "d": [1], "e": [2]}
    assert [each["tariffId"] for each in assigned(found, 1)] == ["a", "d"]  # I09.FR.02


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.none() | st.integers(-3, 6)), max_size=7),
    st.lists(st.integers(0, 3), min_size=7, max_size=7),
)
def test_the_default_tariff_is_the_last_that_came_to_hold(
    wanted: list[tuple[int, int | None]], waits: list[int]
) -> None:
    """Reference: what began to hold last; of those that begin at the same time, what was installed last."""
    found = station()
    begun: list[tuple[int, int, int, str]] = []  # EVSE, from when on, number, name
    hour = 0
    for number, ((evse_id, start), wait) in enumerate(zip(wanted, waits, strict=False)):
        valid = {} if start is None else {"validFrom": at(START_MS + start * HOUR * 1000)}
        name = f"T{number}"
        assert found.ask("SetDefaultTariff", evseId=evse_id, tariff=tariff(name, **valid))["status"] == "Accepted"
        for each in [evse_id] if evse_id else [1, 2]:
            if start is None:  # at once, in place of all that hold
                begun = [known for known in begun if known[0] != each or known[1] > hour]
            begun.append((each, -100 if start is None else start, number, name))
        hour += wait
        found.wait(wait * HOUR)
        for each in (1, 2):
            holds = [known[1:] for known in begun if known[0] == each and known[1] <= hour]
            expected = max(holds)[2] if holds else None
            there = [
                a["tariffId"] for a in assigned(found, each) if "validFrom" not in a or a["validFrom"] <= _now(found)
            ]
            assert there == ([] if expected is None else [expected])
            begun = [known for known in begun if known[0] != each or known[1] > hour or known[3] == expected]


def _now(found: Bench) -> str:
    return at(found.utc_ms)


@together(
    ("wanted", "status"),
    [
        (many(51), "TooManyElements"),
        (tariff("T0"), "DuplicateTariffId"),
        (tariff(currency="euro"[:3]), "Rejected"),
        (priced((0.1, {"startTimeOfDay": "8 am"})), "Rejected"),
        (priced((0.1, {"minPower": -1000})), "ConditionNotSupported"),
        (many(50), "Accepted"),
    ],
)
def test_what_becomes_of_a_default_tariff(wanted: Payload, status: str) -> None:
    found = station(tariff("T0"))
    assert found.ask("SetDefaultTariff", evseId=1, tariff=wanted)["status"] == status
    assert (len(assigned(found)) == 2) == (status == "Accepted")


def test_a_tariff_is_for_an_evse_that_exists_and_for_who_can_read_it() -> None:
    found = station()
    refused = found.ask("SetDefaultTariff", evseId=7, tariff=tariff())
    assert (refused["status"], refused["statusInfo"]["reasonCode"]) == ("Rejected", "UnknownEvse")
    assert found.ask("GetTariffs", evseId=7)["status"] == "Rejected"
    assert assigned(found) == []  # I09.FR.03
    assert found.set("TariffCostCtrlr", "Enabled", "false", instance="Tariff") == "Accepted"
    for action, payload in (
        ("SetDefaultTariff", {"evseId": 0, "tariff": tariff()}),
        ("GetTariffs", {"evseId": 0}),
        ("ClearTariffs", {}),
    ):
        with pytest.raises(Refused) as caught:
            found.ask(action, payload)
        assert caught.value.code == "NotSupported"
    without = station(variables={CONDITIONS: "false"})
    answer = without.ask("SetDefaultTariff", evseId=0, tariff=priced((0.1, {"minTime": 60})))
    assert answer["status"] == "ConditionNotSupported"


def test_default_tariffs_outlive_a_power_cut_and_are_shown() -> None:
    text = {"format": "UTF8", "language": "en", "content": "50 ct/kWh"}
    found = station(tariff(description=[text]))
    found.power_loss()
    assert [each["tariffId"] for each in assigned(found)] == ["T1"]
    assert tariff_of(begin(found)) == "T1"
    shown = [(each.evse_id, each.text) for each in found.commands if isinstance(each, ShowTariff)]
    assert shown[-1] == (1, "50 ct/kWh")
    assert (2, "50 ct/kWh") in shown


# -- drivers' tariffs (I08)


@pytest.mark.parametrize(("choice", "used"), [("UseDefaultTariff", "T0"), ("CentralCost", None)])
def test_driver_tariff_that_cannot_be_processed(choice: str, used: str | None) -> None:
    found = station(tariff("T0"), variables={FAILED: choice, MAX: "3"})
    authorizes(found, many(4))
    assert tariff_of(begin(found)) == used
    assert found.allowed()
    assert found.all("NotifyEvent")[-1]["eventData"][0] | {"timestamp": ""} == _problem(found, "true")
    event = end(found)
    assert ("costDetails" in event) is (used is not None)
    authorizes(found, tariff("good"))
    assert tariff_of(begin(found)) == "good"
    assert found.all("NotifyEvent")[-1]["eventData"][0]["actualValue"] == "false"  # I08.FR.35


def _problem(found: Bench, value: str) -> Payload:
    event: Payload = found.all("NotifyEvent")[-1]["eventData"][0]
    assert (event["component"]["name"], event["variable"]["name"]) == ("TariffCostCtrlr", "Problem")
    assert event["actualValue"] == value
    return event | {"timestamp": ""}


def test_driver_tariff_that_deauthorizes() -> None:
    found = station(tariff("T0"), variables={MAX: "3"})
    authorizes(found, many(4))
    found.plug()
    found.present()
    found.nothing("TransactionEvent")
    assert not found.allowed()
    _problem(found, "true")


def test_a_problem_is_reported_hard_wired_when_nobody_watches_it() -> None:
    found = station(variables={MAX: "3"})
    found.ask("SetMonitoringBase", monitoringBase="HardWiredOnly")
    authorizes(found, many(4))
    found.present()
    event = _problem(found, "true")
    assert (event["trigger"], event["eventNotificationType"]) == ("Alerting", "HardWiredNotification")
    assert event["techCode"] == "TooManyElements"  # I08.FR.37


def test_driver_tariff() -> None:
    found = station(tariff("T0"))
    authorizes(found, tariff("MSP", 1.0, validFrom=at(START_MS + HOUR * 1000)))  # I08.FR.10: is not looked at
    event = begin(found)
    assert tariff_of(event) == "MSP"
    assert {"tariffId": "MSP", "tariffKind": "DriverTariff", "evseIds": [1], "idTokens": ["TAG-1"]} in assigned(found)
    charge(found, 1, 2000)
    assert total(end(found)) == (2.0, 2.4)
    assert [each["tariffId"] for each in assigned(found)] == ["T0"]  # I08.FR.06


def test_a_driver_tariff_waits_as_long_as_a_driver_may() -> None:
    found = station(variables={"TxCtrlr.EVConnectionTimeOut": "60"})
    authorizes(found, tariff("MSP"))
    found.present()
    assert assigned(found) == [{"tariffId": "MSP", "tariffKind": "DriverTariff", "idTokens": ["TAG-1"]}]
    assert assigned(found, 1) == []
    found.wait(62)
    assert assigned(found) == []  # I08.FR.07


def test_a_cached_driver_has_his_tariff_again() -> None:
    found = station(tariff("T0"))
    authorizes(found, tariff("MSP"))
    assert tariff_of(begin(found)) == "MSP"
    end(found)
    found.drop()
    found.power_loss()  # the cache is on disk
    found.drop()
    found.plug()
    found.present()
    found.back()
    assert tariff_of(found.expect("TransactionEvent", eventType="Started")) == "MSP"  # I08.FR.05


def test_a_driver_reads_what_he_will_pay_before_he_plugs_in() -> None:
    def shown(found: Bench) -> list[str]:
        return [each.text for each in found.commands if isinstance(each, ShowTariff)]

    own = tariff("MSP", description=[{"format": "UTF8", "content": "for you: 40 ct"}])
    found = station(tariff(description=[{"format": "UTF8", "content": "50 ct"}]))
    authorizes(found, own)
    found.present()
    assert shown(found)[-1] == "for you: 40 ct"
    found = station(variables={"TariffCostCtrlr.TariffFallbackMessage": "Prices at the counter"})
    message = {"format": "UTF8", "content": "30 ct until noon"}
    found.answers["Authorize"] = {"idTokenInfo": {"status": "Accepted", "personalMessage": message}}
    found.present()
    assert shown(found) == ["30 ct until noon"]  # I01.FR.03
    authorizes(found, None)
    found.present("TAG-2", 2)
    assert shown(found)[-1] == "Prices at the counter"  # I04.FR.01


# -- clearing (I10)


def test_clear_default_tariffs() -> None:
    found = station(tariff("A"))
    found.ask("SetDefaultTariff", evseId=2, tariff=tariff("B"))
    answer = found.ask("ClearTariffs", tariffIds=["B", "C"])
    assert answer == {"clearTariffsResult": [{"status": "Accepted", "tariffId": "B"}]}
    assert found.ask("ClearTariffs", tariffIds=["B"]) == {"clearTariffsResult": [{"status": "NoTariff"}]}
    assert found.ask("ClearTariffs", evseId=2) == {"clearTariffsResult": [{"status": "NoTariff"}]}
    assert found.ask("ClearTariffs", evseId=1)["clearTariffsResult"][0]["tariffId"] == "A"
    found.ask("SetDefaultTariff", evseId=1, tariff=tariff("A"))
    found.ask("SetDefaultTariff", evseId=2, tariff=tariff("B"))
    assert len(found.ask("ClearTariffs")["clearTariffsResult"]) == 2  # I10.FR.01
    found.power_loss()
    assert assigned(found) == []
    assert tariff_of(begin(found)) is None


def test_clear_a_tariff_in_use() -> None:
    found = station(tariff("A"))
    begin(found)
    assert found.ask("ClearTariffs")["clearTariffsResult"] == [{"status": "Accepted", "tariffId": "A"}]
    assert assigned(found) == []
    found.meter_mwh[1] += 4_000_000
    event = end(found)
    assert total(event) == (2.0, 2.4)  # I10.FR.07
    assert event["costDetails"]["chargingPeriods"][0]["tariffId"] == "A"


# -- another tariff during a transaction (I11)


def test_tc_i_114_cs_change_to_conditions_without_support() -> None:
    found = station(tariff(), variables={CONDITIONS: "false"})
    begin(found)
    assert change(found, priced((1.0, {"minEnergy": 5000})))["status"] == "ConditionNotSupported"


def test_change_to_conditions_with_support() -> None:
    found = station(tariff())
    begin(found)
    assert change(found, priced((1.0, {"maxEnergy": 3000.0}), (2.0, {}), name="T2")) == {"status": "Accepted"}
    charge(found, 2, 4000)
    assert total(end(found))[0] == 5.0


def test_change_of_tariff() -> None:
    found = station(tariff("T1", 0.5))
    begin(found)
    charge(found, 10, 2000)
    assert change(found, tariff("T2", 1.0)) == {"status": "Accepted"}
    event = found.expect("TransactionEvent", triggerReason="TariffChanged")
    assert tariff_of(event) == "T2"
    charge(found, 10, 3000)
    event = end(found)
    periods = event["costDetails"]["chargingPeriods"]
    assert [(each["tariffId"], _volume(each, "Energy")) for each in periods] == [("T1", 2000), ("T2", 3000)]
    assert total(event) == (4.0, 4.8)  # I11.FR.08: never back
    assert tariff_of(begin(found)) == "T1"  # the next transaction goes by the default one


def test_change_is_checked() -> None:
    found = station(tariff())
    begin(found)
    assert change(found, tariff("T2"), "nobody") == {"status": "TxNotFound"}
    assert change(found, tariff("T2", currency="USD")) == {"status": "NoCurrencyChange"}
    assert change(found, priced((1.0, {"endTimeOfDay": "25:00"})))["status"] == "Rejected"
    identifier = transaction(found)
    end(found)
    assert change(found, tariff("T2"), identifier) == {"status": "TxNotFound"}


def test_a_transaction_without_tariff_is_priced_from_the_change_on() -> None:
    found = station()
    assert tariff_of(begin(found)) is None
    charge(found, 5, 1000)
    fee = {"prices": [{"priceFixed": 3.0}]}
    assert change(found, tariff("T2", 1.0, fixedFee=fee))["status"] == "Accepted"
    charge(found, 5, 2000)
    assert total(end(found)) == (2.0, 2.4)


# -- cost (I12)


def test_cost_details_without_conditions() -> None:
    everything = tariff(
        "all",
        0.25,
        chargingTime={"prices": [{"priceMinute": 0.1}]},
        idleTime={"prices": [{"priceMinute": 0.5}]},
        fixedFee={"prices": [{"priceFixed": 2.5}], "taxRates": [{"type": "vat", "tax": 15.0}]},
        energy={
            "prices": [{"priceKwh": 0.25}],
            "taxRates": [{"type": "federal", "tax": 6.0}, {"type": "state", "tax": 4.0}],
        },
    )
    found = station(everything)
    begin(found)
    charge(found, 60, 10_000)
    found.flow("SuspendedEV")
    found.wait(20 * 60)
    details = end(found)["costDetails"]
    cost = details["totalCost"]
    assert (cost["currency"], cost["typeOfCost"]) == ("EUR", "NormalCost")
    assert cost["fixed"] == {"exclTax": 2.5, "inclTax": 2.875, "taxRates": [{"type": "vat", "tax": 15.0, "stack": 0}]}
    assert (cost["energy"]["exclTax"], cost["energy"]["inclTax"]) == (2.5, 2.75)  # as of the standard's tariff 10
    assert (cost["chargingTime"]["exclTax"], cost["idleTime"]["exclTax"]) == (6.0, 10.0)
    assert cost["total"] == {"exclTax": 21.0, "inclTax": 21.625}  # I12.FR.17
    assert details["totalUsage"] == {"energy": 10_000, "chargingTime": 3600, "idleTime": 1200}
    (period,) = details["chargingPeriods"]
    assert (period["tariffId"], period["startPeriod"]) == ("all", at(START_MS))
    assert _volume(period, "Energy") == 10_000


def test_cost_details_with_conditions() -> None:
    idle = {"startTimeOfDay": "09:00", "endTimeOfDay": "22:00", "minIdleTime": 300, "dayOfWeek": ["Thursday"]}
    complex_ = tariff(
        "12",
        fixedFee={
            "prices": [{"priceFixed": 3.0, "conditions": {"paymentRecognition": "CC"}}, {"priceFixed": 2.5}],
        },
        chargingTime={
            "prices": [
                {"priceMinute": 1.0, "conditions": {"maxPower": 11_000}},
                {"priceMinute": 2.0, "conditions": {"minPower": 11_000}},
            ]
        },
        idleTime={"prices": [{"priceMinute": 1.0, "conditions": idle}]},
    )
    del complex_["energy"]
    found = station(complex_)
    begin(found)
    charge(found, 60, 10_800)
    charge(found, 30, 12_000)
    found.flow("SuspendedEV")  # 22:00 UTC: the idle fee is over
    found.wait(600)
    event = end(found)
    cost = event["costDetails"]["totalCost"]
    assert cost["fixed"]["exclTax"] == 2.5
    assert cost["chargingTime"]["exclTax"] == 120.0
    assert "idleTime" not in cost
    slow, fast, *_ = event["costDetails"]["chargingPeriods"]
    assert (_volume(slow, "MaxPower"), _volume(fast, "MinPower")) == (10_800, 24_000)
    assert event["costDetails"]["totalUsage"]["idleTime"] == 600


def test_the_standards_tariffs_21_and_22_by_occupancy_of_the_place() -> None:
    vat = [{"type": "vat", "tax": 10.0}]
    quiet = tariff("21", energy={"prices": [{"priceKwh": 0.4}], "taxRates": vat})
    after = {"priceMinute": 0.909, "conditions": {"minIdleTime": 300}}
    busy = quiet | {"tariffId": "22", "idleTime": {"prices": [after], "taxRates": vat}}
    found = station(quiet)
    begin(found)
    charge(found, 10, 10_000)
    found.flow("SuspendedEV")
    found.wait(600)  # costs nothing yet
    assert change(found, busy) == {"status": "Accepted"}
    found.wait(600)
    event = end(found)
    assert event["costDetails"]["totalCost"]["energy"] == {
        "exclTax": 4.0, "inclTax": 4.4, "taxRates": [{"type": "vat", "tax": 10.0, "stack": 0}],
    }  # fmt: skip
    assert event["costDetails"]["totalCost"]["idleTime"]["exclTax"] == 9.09  # the pause is older than five minutes
    assert [each["tariffId"] for each in event["costDetails"]["chargingPeriods"]] == ["21", "22"]


def test_an_idle_fee_begins_after_its_time() -> None:
    found = station(tariff(idleTime={"prices": [{"priceMinute": 1.0, "conditions": {"minIdleTime": 300}}]}))
    begin(found)
    found.flow("SuspendedEV")
    found.wait(15 * 60)
    assert total(end(found)) == (10.0, 10.0)


@pytest.mark.parametrize(("kind", "cost"), [("DC", 2.0), ("AC", 1.0)])
def test_prices_go_by_the_kind_of_evse_and_by_current(kind: str, cost: float) -> None:
    wanted = priced((2.0, {"evseKind": "DC"}), (1.0, {"evseKind": "AC", "minCurrent": 40.0}), (9.0, {}))
    found = station(wanted, evses=(FIXED,) if kind == "DC" else (bench().layout.evses[0],))
    begin(found)
    charge(found, 6, 1000)  # 16 A: 48 A over three phases
    assert total(end(found))[0] == cost


def test_running_costs_are_sent_at_their_interval_and_shown_all_the_time() -> None:
    found = station(tariff(), variables={RUNNING: "true", INTERVAL: "300", LOOKS: "0"})
    event = begin(found)
    assert event["costDetails"]["totalCost"]["total"] == {"exclTax": 0.0, "inclTax": 0.0}  # I12.FR.02
    found.clear()
    charge(found, 9, 900)
    events = [payload for name, payload in found.unread if name == "TransactionEvent" and "costDetails" in payload]
    assert len(events) == 1
    assert "chargingPeriods" not in events[0]["costDetails"]
    assert events[0]["triggerReason"] == "MeterValuePeriodic"  # it was due anyway
    shown = [each.total for each in found.commands if isinstance(each, ShowCost)]
    assert len(shown) >= 9  # whenever it changes
    assert shown == sorted(shown, key=lambda each: each or 0)
    found.set("SampledDataCtrlr", "TxUpdatedInterval", "0")
    found.clear()
    charge(found, 6, 600)
    cost, _ = total(found.expect("TransactionEvent", triggerReason="RunningCost"))
    assert 0.5 <= cost <= 0.55  # after ten minutes, as this test takes steps of one
    found.drop()
    before = len(found.station.outbox)
    charge(found, 20, 600)
    assert len(found.station.outbox) == before, "nobody reads a running cost later"


def test_a_greatest_cost_freezes_and_a_least_one_replaces() -> None:
    most = tariff("most", 1.0, maxCost={"inclTax": 6.0}, fixedFee={"prices": [{"priceFixed": 1.2}]})
    found = station(most)
    begin(found)
    charge(found, 30, 20_000)
    details = end(found)["costDetails"]
    cost = details["totalCost"]
    assert (cost["typeOfCost"], cost["total"]["inclTax"]) == ("MaxCost", 6.0)
    assert (cost["fixed"]["inclTax"], cost["energy"]["inclTax"]) == (1.2, 4.8)
    assert details["totalUsage"]["energy"] == 20_000  # I12.FR.40
    least = station(tariff("least", 1.0, minCost={"exclTax": 3.0, "inclTax": 3.6}))
    begin(least)
    least.meter_mwh[1] += 1_000_000
    cost = end(least)["costDetails"]["totalCost"]
    assert (cost["typeOfCost"], cost["fixed"]) == ("MinCost", {"exclTax": 3.0, "inclTax": 3.6})
    assert "energy" not in cost


@pytest.mark.parametrize("point", ["EVConnected", "Authorized", "PowerPathClosed", "EnergyTransfer"])
@pytest.mark.parametrize("first", ["plug", "token"])
def test_a_reservation_is_part_of_the_cost(point: str, first: str) -> None:
    """Also where it is used, and so over, before the transaction begins (H03.FR.09)."""
    found = station(
        tariff(
            reservationTime={"prices": [{"priceMinute": 0.1}]},
            reservationFixed={"prices": [{"priceFixed": 1.0}]},
        ),
        variables={"TxCtrlr.TxStartPoint": point},
    )
    token = {"idToken": "TAG-1", "type": "ISO14443"}
    answer = found.ask("ReserveNow", id=5, expiryDateTime=at(START_MS + HOUR * 1000), idToken=token, evseId=1)
    assert answer["status"] == "Accepted"
    found.wait(20 * 60)
    if first == "token":
        found.present()
    found.plug()
    if first == "plug":
        found.present()
    found.flow()
    details = end(found)["costDetails"]
    assert details["totalUsage"]["reservationTime"] == 1200  # I12.FR.07
    assert details["totalCost"]["reservationTime"]["exclTax"] == 2.0
    assert details["totalCost"]["reservationFixed"]["exclTax"] == 1.0


def test_a_power_cut_costs_nobody_anything_but_the_energy() -> None:
    found = station(
        tariff(chargingTime={"prices": [{"priceMinute": 1.0}]}, idleTime={"prices": [{"priceMinute": 1.0}]})
    )
    begin(found)
    charge(found, 10, 2000)
    found.flow("SuspendedEV")  # an event: what was until now is on disk
    found.flow("Charging")
    found.meter_mwh[1] += 1_000_000
    found.power_loss(away_s=3600)
    event = found.expect("TransactionEvent", eventType="Ended")
    assert event["costDetails"]["totalCost"]["chargingTime"]["exclTax"] == 10.0
    assert event["costDetails"]["totalCost"]["energy"]["exclTax"] == 1.5
    assert event["costDetails"]["totalUsage"]["idleTime"] == 0
    for collection in ("terms", "costs"):
        assert not found.saved.get(collection)


def test_a_transaction_that_is_resumed_goes_on_at_its_cost() -> None:
    times = {"chargingTime": {"prices": [{"priceMinute": 1.0}]}, "idleTime": {"prices": [{"priceMinute": 1.0}]}}
    found = station(tariff(**times), variables={"TxCtrlr.ResumptionTimeout": "600"})
    begin(found)
    charge(found, 10, 2000)
    found.flow("SuspendedEV")
    found.power_loss(away_s=300)
    found.plug()
    found.expect("TransactionEvent", triggerReason="TxResumed")
    assert [each["tariffId"] for each in assigned(found)] == ["T1"]
    found.wait(60)
    cost = end(found)["costDetails"]["totalCost"]
    assert cost["energy"]["exclTax"] == 1.0
    assert cost["chargingTime"]["exclTax"] == 10.0
    assert cost["idleTime"]["exclTax"] == 1.0  # not for the time in the dark


def test_a_clock_that_is_set_takes_no_time() -> None:
    found = station(tariff(chargingTime={"prices": [{"priceMinute": 1.0}]}))
    begin(found)
    charge(found, 10, 0)
    found.utc_ms += 7 * 86_400_000
    charge(found, 10, 0)
    found.utc_ms -= 9 * 86_400_000
    charge(found, 10, 0)
    assert end(found)["costDetails"]["totalUsage"]["chargingTime"] == 1800


def test_who_plugs_in_first_pays_from_his_authorization_on() -> None:
    found = station(
        tariff(idleTime={"prices": [{"priceMinute": 1.0}]}, fixedFee={"prices": [{"priceFixed": 2.0}]}),
        start="EVConnected",
    )
    found.plug()
    assert tariff_of(found.expect("TransactionEvent", eventType="Started")) is None
    found.wait(600)
    found.present()
    assert tariff_of(found.expect("TransactionEvent", triggerReason="Authorized")) == "T1"
    found.wait(300)
    assert total(end(found)) == (7.0, 7.0)


def test_without_a_meter_the_cost_is_not_known() -> None:
    found = station(tariff(fixedFee={"prices": [{"priceFixed": 2.0}]}))
    found.metered = False
    begin(found)
    details = end(found)["costDetails"]
    assert details["failureToCalculate"] is True  # I12.FR.14
    assert details["totalCost"]["total"]["exclTax"] == 2.0
    _problem(found, "true")


# -- cost limits (E16) and ad hoc payment (C24)
