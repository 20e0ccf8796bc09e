"""What the station works out for transactions, against counting minute by minute with nothing but the tariff."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.station.bench import FIXED, SOCKET, START_MS, Bench, Payload, Refused, at
from tests.station.charging import bench
from tests.station.profiles import transaction
from tests.station.tariffs import (
    FAILED,
    INTERVAL,
    LOOKS,
    MAX,
    RUNNING,
    assigned,
    begin,
    change,
    charge,
    end,
    many,
    priced,
    station,
    tariff,
    total,
)
from v2g.ocpp.messages.authorization import AuthorizeRequest, IdToken
from v2g_station.blocks.cost.local_cost import ShowCost
from v2g_station.blocks.cost.tariffs import ShowTariff
from v2g_station.blocks.evse import Power
from v2g_station.blocks.transaction_records import MeterSample, TransactionRecord
from v2g_station.blocks.transactions.managed import ManagedSessions
from v2g_station.kernel.kernel import Keep, SendToCsms

START = datetime.fromtimestamp(START_MS / 1000, UTC)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MINUTE_WH = 120
"""Energy of each minute of charging: 7.2 kW. Bounds of energy are whole minutes of it."""

_clock = st.sampled_from(["20:00", "20:31", "20:45", "21:00", "22:00"])
_steps = st.integers(1, 20)
_conditions: st.SearchStrategy[Payload] = st.fixed_dictionaries(
    {},
    optional={
        "startTimeOfDay": _clock,
        "endTimeOfDay": _clock,
        "dayOfWeek": st.sampled_from([["Thursday"], ["Friday", "Saturday"], ["Thursday", "Sunday"]]),
        "validFromDate": st.sampled_from(["2026-05-28", "2026-05-29"]),
        "validToDate": st.sampled_from(["2026-05-28", "2026-06-01"]),
        "evseKind": st.sampled_from(["AC", "DC"]),
        "minEnergy": _steps.map(lambda n: n * MINUTE_WH),
        "maxEnergy": _steps.map(lambda n: n * MINUTE_WH),
        "minPower": st.sampled_from([1000, 7200, 7201]),
        "maxPower": st.sampled_from([7200, 7201]),
        "minTime": _steps.map(lambda n: n * 60),
        "maxChargingTime": _steps.map(lambda n: n * 60),
        "minIdleTime": _steps.map(lambda n: n * 60),
    },
)
_taxes = st.lists(
    st.fixed_dictionaries(
        {"type": st.just("vat"), "tax": st.sampled_from([4.0, 7.5, 19.0])}, optional={"stack": st.integers(0, 1)}
    ),
    min_size=1,
    max_size=3,
)


def _charge(price: str) -> st.SearchStrategy[Payload]:
    one = st.fixed_dictionaries(
        {price: st.integers(0, 2000).map(lambda n: n / 1000)}, optional={"conditions": _conditions}
    )
    return st.fixed_dictionaries({"prices": st.lists(one, min_size=1, max_size=3)}, optional={"taxRates": _taxes})


_tariffs: st.SearchStrategy[Payload] = st.fixed_dictionaries(
    {"tariffId": st.just("T"), "currency": st.just("EUR")},
    optional={
        "energy": _charge("priceKwh"),
        "chargingTime": _charge("priceMinute"),
        "idleTime": _charge("priceMinute"),
        "fixedFee": st.just({"prices": [{"priceFixed": 1.5}]}),
        "minCost": st.just({"exclTax": 5.0, "inclTax": 6.0}),
        "maxCost": st.sampled_from([{"exclTax": 2.0}, {"inclTax": 9.0}]),
    },
)


def applies(when: Payload, clock: datetime, so_far: dict[str, int], power: int) -> bool:
    """Say whether a condition holds in a minute, read off the standard's table."""
    now, day = f"{clock:%H:%M}", f"{clock:%Y-%m-%d}"
    first, last = when.get("startTimeOfDay", "00:00"), when.get("endTimeOfDay", "00:00")
    if last == "00:00":
        last = "24:00"
    inside = first <= now < last if first < last else now >= first or now < last
    checks = [
        inside,
        DAYS[clock.weekday()] in when.get("dayOfWeek", DAYS),
        when.get("validFromDate", day) <= day,
        "validToDate" not in when or day < when["validToDate"],
        when.get("evseKind", "AC") == "AC",
        when.get("minEnergy", 0) <= so_far["wh"],
        so_far["wh"] < when.get("maxEnergy", 10**9),
        when.get("minPower", 0) <= power,
        power < when.get("maxPower", 10**9),
        when.get("minTime", 0) <= so_far["time"],
        so_far["charging"] < when.get("maxChargingTime", 10**9),
        when.get("minIdleTime", 0) <= so_far["idle"],
    ]
    return all(checks)


def taxed(charge: Payload, amount: Decimal) -> Decimal:
    """Lay the taxes of each stack on what the stacks below come to (I12.FR.13)."""
    for stack in (0, 1):
        percent = sum(Decimal(str(each["tax"])) for each in charge.get("taxRates", ()) if each.get("stack", 0) == stack)
        amount += amount * percent / 100
    return amount


def counted(wanted: Payload, minutes: list[bool]) -> tuple[Decimal, Decimal, str]:
    """Return the cost without and with taxes, and its type, minute by minute."""
    so_far = {"wh": 0, "time": 0, "charging": 0, "idle": 0}
    excl = incl = Decimal(0)
    if "fixedFee" in wanted:
        excl = incl = Decimal("1.5")
    most = wanted.get("maxCost", {})

    def full() -> bool:
        return excl >= Decimal(str(most.get("exclTax", 10**9))) or incl >= Decimal(str(most.get("inclTax", 10**9)))

    for number, charging in enumerate(minutes):
        clock = START + timedelta(minutes=number)
        spent = {**so_far, "idle": 0} if charging else so_far
        reached = full()
        for field, price, quantity in (
            ("energy", "priceKwh", Decimal(MINUTE_WH) / 1000 if charging else Decimal(0)),
            ("chargingTime" if charging else "idleTime", "priceMinute", Decimal(1)),
        ):
            charge = wanted.get(field, {"prices": []})
            for each in charge["prices"]:
                if applies(each.get("conditions", {}), clock, spent, MINUTE_WH * 60 if charging else 0):
                    amount = quantity * Decimal(str(each[price]))
                    if not reached:
                        excl, incl = excl + amount, incl + taxed(charge, amount)
                    break
        so_far["wh"] += MINUTE_WH if charging else 0
        so_far["time"] += 60
        so_far["charging"] += 60 if charging else 0
        so_far["idle"] = 0 if charging else so_far["idle"] + 60
    if full():
        return excl, incl, "MaxCost"
    least = wanted.get("minCost")
    if least and (excl < 5 or incl < 6):
        return max(excl, Decimal(5)), max(incl, Decimal(6)), "MinCost"
    return excl, incl, "NormalCost"


@settings(max_examples=12, deadline=None)
@given(_tariffs, st.lists(st.tuples(st.booleans(), st.integers(1, 12)), min_size=1, max_size=5))
def test_costs_are_those_of_counting(wanted: Payload, runs: list[tuple[bool, int]]) -> None:
    minutes = [charging for charging, length in runs for _ in range(length)]
    found = station(wanted)
    found.plug()
    found.present()
    for charging in minutes:
        found.flow("Charging" if charging else "SuspendedEV")
        found.advance_clock(60)
        found.meter_mwh[1] += MINUTE_WH * 1000 if charging else 0
        found.wait(0)
    details = end(found)["costDetails"]
    cost = details["totalCost"]
    excl, incl, kind = counted(wanted, minutes)
    assert cost["typeOfCost"] == kind
    if kind == "MaxCost":  # the minute in which it was reached is cut there
        bound = wanted["maxCost"]
        for name in bound:
            assert cost["total"][name] == bound[name]
        assert cost["total"]["exclTax"] <= float(excl) + 1e-5
    else:
        assert cost["total"]["exclTax"] == pytest.approx(float(excl), abs=2e-5)
        assert cost["total"]["inclTax"] == pytest.approx(float(incl), abs=2e-5)
    usage = details["totalUsage"]
    assert usage == {
        "energy": MINUTE_WH * sum(minutes),
        "chargingTime": 60 * sum(minutes),
        "idleTime": 60 * (len(minutes) - sum(minutes)),
    }
    parts = [part for name, part in cost.items() if isinstance(part, dict) and name != "total"]
    for name in ("exclTax", "inclTax"):
        assert sum(part[name] for part in parts) == pytest.approx(cost["total"][name], abs=1e-9)  # I12.FR.17


# -- where the charger leads the transactions


class Charger:
    """A charger's core, its memory, and what it wanted to send."""

    def __init__(self, saved: dict[str, dict[str, bytes]] | None = None) -> None:
        self.bench = Bench("2.1", managed=True, power=False, able=frozenset())
        self.bench.saved = saved or {}
        self.bench.station = self.station = self.bench.make("PowerUp", same_boot=True)
        self.bench.power_up()
        assert isinstance(self.station.sessions, ManagedSessions)
        self.sessions: ManagedSessions = self.station.sessions

    def lead(self, work: Callable[[ManagedSessions], None]) -> None:
        self.bench.run(self.station.lead(work, self.bench.moment))

    def sample(self, wh: int) -> MeterSample:
        self.bench.meter_mwh[1] = wh * 1000
        return MeterSample(utc_ms=self.bench.utc_ms, import_mwh=wh * 1000, export_mwh=0)

    def start(self, wh: int) -> None:
        record = TransactionRecord(
            transaction_id="tx-1", reference="session", evse_id=1, connector_id=1, started_ms=self.bench.utc_ms,
            id_token="DEV2GC00000001", id_token_type="eMAID",
        )  # fmt: skip
        sample = self.sample(wh)
        self.lead(lambda sessions: sessions.begin(record, trigger="Authorized", sample=sample))

    def update(self, wh: int, **more: Any) -> None:
        sample = self.sample(wh)
        self.lead(lambda sessions: sessions.progress("session", "ChargingStateChanged", sample=sample, **more))

    def end(self, wh: int) -> Payload:
        sample = self.sample(wh)
        self.lead(lambda s: s.finish("session", trigger="StopAuthorized", reason="Local", sample=sample))
        return self.bench.expect("TransactionEvent", eventType="Ended")


def test_a_charger_s_own_transactions_are_priced_and_outlive_its_program() -> None:
    charger = Charger()
    default = tariff("T1", 0.5, chargingTime={"prices": [{"priceMinute": 0.1}]})
    assert charger.bench.ask("SetDefaultTariff", evseId=0, tariff=default)["status"] == "Accepted"
    charger.start(1000)
    event = charger.bench.expect("TransactionEvent", eventType="Started")
    assert event["transactionInfo"]["tariffId"] == "T1"
    charger.update(1000, charging_state="Charging")
    charger.bench.advance_clock(600)
    charger.update(3000, charging_state="SuspendedEV")
    again = Charger(charger.bench.saved)
    again.bench.utc_ms = charger.bench.utc_ms + 60_000
    again.update(3500, charging_state="Charging")  # a paused session that is joined again
    again.bench.advance_clock(60)
    cost = again.end(5000)["costDetails"]["totalCost"]
    assert cost["energy"]["exclTax"] == 2.0
    assert cost["chargingTime"]["exclTax"] == 1.1
    assert not again.bench.saved["terms"]


def test_a_contract_s_own_tariff_is_taken_from_the_answer_to_the_charger() -> None:
    charger = Charger()
    charger.bench.answers["Authorize"] = {"idTokenInfo": {"status": "Accepted"}, "tariff": tariff("MSP", 1.0)}
    answers: list[Any] = []
    request = AuthorizeRequest(id_token=IdToken(id_token="DEV2GC00000001", type="eMAID"))
    charger.bench.run(charger.station.call(request, answers.append, charger.bench.moment))
    assert answers[0].id_token_info.status == "Accepted"
    charger.start(0)
    charger.bench.advance_clock(60)
    event = charger.end(2000)
    assert event["costDetails"]["totalCost"]["total"]["exclTax"] == 2.0
    shown = [each.total for each in charger.bench.commands if isinstance(each, ShowCost)]
    assert shown[-1] == 2.4


def test_no_cost_is_sent_that_is_not_kept_first() -> None:
    found = station(tariff())
    batches: list[list[Any]] = []
    carry_out = found.carry_out
    found.carry_out = lambda actions: (batches.append(actions), carry_out(actions))[1]  # type: ignore[method-assign]
    begin(found)
    for actions in batches:
        sent = [each for each in actions if isinstance(each, SendToCsms) and '"TransactionEvent"' in each.text]
        kept = {each.collection for each in actions if isinstance(each, Keep)}
        if sent and "outbox" in kept:
            assert "costs" in kept
    assert any(isinstance(each, Keep) and each.collection == "costs" for actions in batches for each in actions)


# -- what else is priced, shown and reported


def shown(found: Bench) -> list[tuple[float | None, bool]]:
    return [(each.total, each.final) for each in found.commands if isinstance(each, ShowCost)]


def test_prices_of_a_transaction_that_is_gone_are_forgotten() -> None:
    begun = station(tariff())
    begin(begun)
    other = station(tariff())
    other.saved |= {name: dict(begun.saved[name]) for name in ("terms", "costs")}
    other.power_loss()
    assert not other.saved["terms"]
    assert not other.saved["costs"]


def test_the_cost_so_far_is_known_while_it_is_worked_out() -> None:
    found = station(tariff())
    (costs, evse) = found.station.local_costs, found.station.evses[1]
    assert costs.cost(evse) is None
    begin(found)
    found.meter_mwh[1] += 2_000_000
    assert costs.cost(evse) == 1.2, "with taxes, by the meter of now"
    assert costs.cost(found.station.evses[2]) is None
    found.set("TariffCostCtrlr", "Enabled", "false", instance="Cost")
    assert costs.cost(evse) is None
    free = station()
    begin(free)
    assert free.station.local_costs.cost(free.station.evses[1]) is None
    blind = station(tariff())
    blind.metered = False
    begin(blind)
    assert blind.station.local_costs.cost(blind.station.evses[1]) is None


def test_listeners_receive_each_cost_that_is_shown() -> None:
    found = station(tariff(), variables={LOOKS: "60"})
    received: list[tuple[int, float]] = []
    found.station.local_costs.on_cost(lambda evse, total: received.append((evse.number, total)))
    begin(found)
    found.meter_mwh[1] += 1_000_000
    found.wait(60)
    found.wait(60)  # nothing has changed
    end(found)
    assert received == [(1, 0.6), (1, 0.6)]
    assert shown(found) == [(0.6, False), (0.6, True)]


@pytest.mark.parametrize(("interval", "polls"), [("60", [60, 120]), ("0", [5, 10])])
def test_the_meter_is_polled_at_the_interval_of_tariffs(interval: str, polls: list[int]) -> None:
    found = station(tariff(), variables={LOOKS: interval, "SampledDataCtrlr.TxUpdatedInterval": "0"})
    begin(found)
    begun = found.now
    times = []
    for _ in range(130):
        found.meter_mwh[1] += 100_000
        before = len(shown(found))
        found.wait(1)
        if len(shown(found)) > before:
            times.append(round(found.now - begun))
    assert times[:2] == polls


def test_an_event_for_the_cost_alone_comes_when_no_other_carries_it() -> None:
    variables = {RUNNING: "true", INTERVAL: "100", LOOKS: "60", "SampledDataCtrlr.TxUpdatedInterval": "0"}
    found = station(tariff(), variables=variables)
    begin(found)
    found.clear()
    found.wait(99)
    found.nothing("TransactionEvent")
    found.wait(1.2)
    assert "costDetails" in found.expect("TransactionEvent", triggerReason="RunningCost")
    found.wait(50)
    found.flow("SuspendedEV")
    event = found.expect("TransactionEvent", triggerReason="ChargingStateChanged")
    assert "costDetails" not in event, "not due yet"
    found.wait(51)
    found.expect("TransactionEvent", triggerReason="RunningCost")
    found.wait(100.5)
    found.expect("TransactionEvent", triggerReason="RunningCost")
    found.set("TariffCostCtrlr", "Enabled", "false", instance="RunningCost")
    found.clear()
    found.wait(300)
    found.nothing("TransactionEvent")
    found.set("TariffCostCtrlr", "Enabled", "true", instance="RunningCost")
    found.set("TariffCostCtrlr", "Enabled", "false", instance="Cost")
    found.wait(300)
    found.nothing("TransactionEvent")
    assert "costDetails" not in end(found)


def test_an_event_that_comes_at_about_the_same_time_carries_the_running_cost() -> None:
    variables = {RUNNING: "true", INTERVAL: "100", LOOKS: "60", "SampledDataCtrlr.TxUpdatedInterval": "0"}
    found = station(tariff(), variables=variables)
    begin(found)
    found.clear()
    found.wait(100.03)
    found.nothing("TransactionEvent")
    found.flow("SuspendedEV")
    assert "costDetails" in found.expect("TransactionEvent", triggerReason="ChargingStateChanged")
    found.wait(100)
    found.nothing("TransactionEvent")


def test_the_first_event_carries_the_cost_however_rarely_it_is_reported() -> None:
    found = station(tariff(), variables={RUNNING: "true", INTERVAL: "86400"})
    assert "costDetails" in begin(found)
    assert "costDetails" not in begin(station(tariff())), "running costs are disabled"


def test_no_cost_is_shown_that_is_not_worked_out_or_not_known() -> None:
    disabled = station(tariff())
    begin(disabled)
    disabled.set("TariffCostCtrlr", "Enabled", "false", instance="Cost")
    blind = station(tariff())
    blind.metered = False
    begin(blind)
    for found in (disabled, blind):
        found.meter_mwh[1] += 1_000_000
        found.wait(300)
        end(found)
        assert shown(found) == []


def test_an_event_for_the_cost_alone_carries_it_though_the_interval_has_become_longer() -> None:
    variables = {RUNNING: "true", INTERVAL: "100", LOOKS: "600", "SampledDataCtrlr.TxUpdatedInterval": "0"}
    found = station(tariff(), variables=variables)
    begin(found)
    found.wait(50)
    found.set("TariffCostCtrlr", "Interval", "1000", instance="Cost")
    found.wait(51)
    assert "costDetails" in found.expect("TransactionEvent", triggerReason="RunningCost")


def test_an_event_carries_the_cost_from_the_interval_on() -> None:
    found = station(tariff(), variables={RUNNING: "true", INTERVAL: "100", "SampledDataCtrlr.TxUpdatedInterval": "0"})
    begin(found)
    found.advance_clock(99)
    found.flow("SuspendedEV")
    assert "costDetails" not in found.all("TransactionEvent")[-1]
    found.advance_clock(1)
    found.flow("Charging")
    assert "costDetails" in found.all("TransactionEvent")[-1]


def test_no_event_for_the_cost_alone_waits_for_the_connection() -> None:
    found = station(tariff(), variables={RUNNING: "true", INTERVAL: "100", "SampledDataCtrlr.TxUpdatedInterval": "0"})
    begin(found)
    found.drop()
    found.wait(250)
    found.clear()
    found.back()
    found.nothing("TransactionEvent", triggerReason="RunningCost")


def test_running_costs_are_reported_from_when_they_are_enabled_at_their_interval() -> None:
    found = station(tariff(), variables={INTERVAL: "100", LOOKS: "600", "SampledDataCtrlr.TxUpdatedInterval": "0"})
    begin(found)
    found.wait(150)
    found.set("TariffCostCtrlr", "Enabled", "true", instance="RunningCost")
    found.clear()
    found.wait(40)
    found.nothing("TransactionEvent")
    found.wait(20)
    found.expect("TransactionEvent", triggerReason="RunningCost")


def test_terms_are_kept_when_the_clock_is_set() -> None:
    found = station(tariff(), variables={LOOKS: "60", "SampledDataCtrlr.TxUpdatedInterval": "0"})
    begin(found)
    found.wait(60)
    before = dict(found.saved["terms"])
    found.utc_ms += 3_600_000
    found.wait(60)
    assert found.saved["terms"].keys() == before.keys()
    assert found.saved["terms"] != before


def test_nothing_is_shown_after_the_end_and_the_next_transaction_is_polled() -> None:
    found = station(tariff(), variables={RUNNING: "true", INTERVAL: "100", LOOKS: "60"})
    begin(found)
    end(found)
    before = len(shown(found))
    found.meter_mwh[1] += 1_000_000
    found.wait(300)
    assert len(shown(found)) == before
    found.nothing("TransactionEvent", triggerReason="RunningCost")
    begin(found)
    found.meter_mwh[1] += 1_000_000
    found.wait(60)
    assert shown(found)[before:] == [(0.6, False)]


def test_a_cost_that_cannot_be_worked_out_is_a_problem_until_one_could() -> None:
    found = station(tariff(), variables={RUNNING: "true", INTERVAL: "60"})
    found.ask("SetMonitoringBase", monitoringBase="HardWiredOnly")

    def problems() -> list[tuple[str, str | None]]:
        events = (event for each in found.all("NotifyEvent") for event in each["eventData"])
        return [(e["actualValue"], e.get("techCode")) for e in events if e["variable"]["name"] == "Problem"]

    found.metered = False
    begin(found)
    end(found)
    assert problems() == [("true", "InternalError")]
    found.metered = True
    begin(found)
    found.wait(200)
    assert len(problems()) == 1, "not while it runs"
    end(found)
    assert [value for value, _ in problems()] == ["true", "false"]


def test_what_is_unpriced_is_forgotten_with_a_transaction_that_a_restart_ends() -> None:
    found = station(tariff("T0"), variables={FAILED: "CentralCost", MAX: "3"})
    found.answers["Authorize"] = {"idTokenInfo": {"status": "Accepted"}, "tariff": many(4)}
    begin(found)
    assert len(found.saved["unpriced"]) == 1
    found.saved["unpriced"]["of a transaction that is lost"] = b""
    found.power_loss()
    assert not found.saved["unpriced"]


def test_what_the_csms_prices_it_prices_also_when_the_program_starts_again() -> None:
    """The driver's own tariff cannot be used here: no default one takes its place."""
    variables = {FAILED: "CentralCost", MAX: "3", "TxCtrlr.ResumptionTimeout": "600", "AuthCacheCtrlr.Enabled": "false"}
    found = station(tariff("T0"), variables=variables)
    found.answers["Authorize"] = {"idTokenInfo": {"status": "Accepted"}, "tariff": many(4)}
    begin(found)
    found.power_loss()
    found.plug()
    found.flow("Charging")
    assert all("tariffId" not in each["transactionInfo"] for each in found.all("TransactionEvent"))
    assert "costDetails" not in end(found)
    found.answers["Authorize"] = {"idTokenInfo": {"status": "Accepted"}}
    assert begin(found)["transactionInfo"]["tariffId"] == "T0"


def test_what_the_csms_prices_it_prices_also_when_the_driver_s_tariff_is_gone() -> None:
    """The same driver is authorized at another EVSE, now without a tariff: a default one would price half a session."""
    variables = {FAILED: "CentralCost", MAX: "3", "AuthCacheCtrlr.Enabled": "false"}
    found = station(tariff("T0"), variables=variables)
    found.answers["Authorize"] = {"idTokenInfo": {"status": "Accepted"}, "tariff": many(4)}
    begin(found)
    found.answers["Authorize"] = {"idTokenInfo": {"status": "Accepted"}}
    found.present("TAG-1", 2)
    found.flow("SuspendedEV")
    assert "costDetails" not in end(found)
    assert all("tariffId" not in each["transactionInfo"] for each in found.all("TransactionEvent"))
    assert not found.saved["unpriced"], "what has ended is not kept for ever"


@pytest.mark.parametrize(
    ("evse_id", "phases", "amperes"), [(1, 3, 48), (1, 1, 16), (2, None, 16)], ids=["three", "one", "DC"]
)
def test_a_current_is_that_of_all_phases_in_use(evse_id: int, phases: int | None, amperes: int) -> None:
    """A price from 1 A above it does not hold, one from it on does."""
    kind = "AC" if phases else "DC"
    wanted = priced(
        (9.0, {"minCurrent": amperes + 1.0}), (1.0, {"evseKind": kind, "minCurrent": float(amperes)}), (5.0, {})
    )
    found = station(wanted, evses=(SOCKET, FIXED))
    found.plug(evse_id)
    found.present("TAG-1", evse_id)
    found.fact(Power(evse_id=evse_id, state="Charging", phases=phases))
    charge(found, 6, 1000, evse_id)
    assert total(end(found, evse_id=evse_id))[0] == 1.0


def test_without_a_current_none_is_assumed(monkeypatch: pytest.MonkeyPatch) -> None:
    read = Bench.read

    def without(bench: Bench, evse_id: int, _context: str = "Other") -> MeterSample:
        sample = read(bench, evse_id)
        assert sample is not None
        return msgspec.structs.replace(sample, current_a=None)

    monkeypatch.setattr(Bench, "read", without)
    found = station(priced((1.0, {"maxCurrent": 1.0}), (5.0, {})))
    begin(found)
    charge(found, 6, 1000)
    assert total(end(found))[0] == 1.0


def test_a_change_counts_from_its_time_on_without_fees_that_were_not_agreed() -> None:
    found = station(tariff(), variables={LOOKS: "600", "SampledDataCtrlr.TxUpdatedInterval": "0"})
    begin(found)
    found.meter_mwh[1] += 1_000_000
    fee = {"fixedFee": {"prices": [{"priceFixed": 7.0}]}}
    assert change(found, tariff("T2", 1.0, **fee))["status"] == "Accepted"
    found.meter_mwh[1] += 1_000_000
    assert total(end(found))[0] == 1.5
    free = station()
    begin(free)
    free.meter_mwh[1] += 1_000_000
    assert change(free, tariff("T2", 1.0, **fee))["status"] == "Accepted"
    assert [(each["tariffId"], each["tariffKind"]) for each in assigned(free)] == [("T2", "DriverTariff")]
    free.meter_mwh[1] += 1_000_000
    assert total(end(free))[0] == 1.0


def test_a_change_outlives_the_program_and_costs_are_shown_on() -> None:
    charger = Charger()
    charger.bench.ask("SetDefaultTariff", evseId=0, tariff=tariff("T1", 0.5))
    charger.start(0)
    answer = charger.bench.ask("ChangeTransactionTariff", transactionId="tx-1", tariff=tariff("T2", 2.0))
    assert answer["status"] == "Accepted"
    again = Charger(charger.bench.saved)
    again.bench.utc_ms = charger.bench.utc_ms + 60_000
    again.sample(1000)
    again.bench.wait(4000)
    assert shown(again.bench)[-1] == (2.4, False)
    assert again.end(2000)["costDetails"]["totalCost"]["energy"]["exclTax"] == 4.0


def test_a_charger_s_event_counts_by_the_sample_that_comes_with_it() -> None:
    charger = Charger()
    charger.bench.ask("SetDefaultTariff", evseId=0, tariff=tariff("T1", 0.5))
    charger.start(0)
    sample = charger.sample(3000)
    charger.bench.meter_mwh[1] = 9_000_000
    charger.lead(lambda s: s.finish("session", trigger="StopAuthorized", reason="Local", sample=sample))
    ended = charger.bench.expect("TransactionEvent", eventType="Ended")
    assert ended["costDetails"]["totalCost"]["total"]["exclTax"] == 1.5


def test_the_last_event_does_not_begin_to_price() -> None:
    charger = Charger()
    charger.bench.ask("SetDefaultTariff", evseId=0, tariff=tariff("T1", 0.5))
    charger.bench.set("TariffCostCtrlr", "Enabled", "false", instance="Cost")
    charger.start(0)
    charger.bench.set("TariffCostCtrlr", "Enabled", "true", instance="Cost")
    event = charger.end(1000)
    assert "costDetails" not in event
    assert "tariffId" not in event["transactionInfo"]


def test_a_tariff_of_2_1_prices_nothing_over_2_0_1() -> None:
    begun = station(tariff())
    other = bench(version="2.0.1", variables={RUNNING: "true"})
    other.saved["tariffs"] = dict(begun.saved["tariffs"])
    other.power_loss()
    begin(other)
    other.meter_mwh[1] += 1_000_000
    other.wait(600)
    end(other)
    assert shown(other) == []


def test_only_the_first_event_after_the_start_and_a_change_name_the_tariff() -> None:
    found = station(tariff())
    assert begin(found)["transactionInfo"]["tariffId"] == "T1"
    for event in found.all("TransactionEvent")[1:]:
        assert "tariffId" not in event["transactionInfo"]
    assert change(found, tariff("T2"))["status"] == "Accepted"
    changed = found.expect("TransactionEvent", triggerReason="TariffChanged")
    assert changed["transactionInfo"]["tariffId"] == "T2"
    found.flow("SuspendedEV")
    assert "tariffId" not in found.all("TransactionEvent")[-1]["transactionInfo"]


def test_a_transaction_that_only_ends_here_is_not_priced() -> None:
    """Without an authorization there is nobody to pay."""
    found = station(tariff(), start="EVConnected")
    found.plug()
    found.unplug()
    event = found.expect("TransactionEvent", eventType="Ended")
    assert "costDetails" not in event
    assert "tariffId" not in event["transactionInfo"]


def test_a_change_is_for_who_works_costs_out_and_for_a_transaction_that_still_runs() -> None:
    found = station(tariff())
    begin(found)
    name = transaction(found)
    found.set("TariffCostCtrlr", "Enabled", "false", instance="Cost")
    with pytest.raises(Refused) as refused:
        change(found, tariff("T2"))
    assert refused.value.code == "NotSupported"
    found.set("TariffCostCtrlr", "Enabled", "true", instance="Cost")
    refusals = {
        "TooManyElements": many(51), "NoCurrencyChange": tariff("T2", currency="USD"),
        "ConditionNotSupported": priced((0.1, {"minPower": -1000})), "Rejected": priced((0.1, {"startTimeOfDay": "8"})),
    }  # fmt: skip
    for status, wanted in refusals.items():
        answer = change(found, wanted)
        assert answer["status"] == status
        assert ("statusInfo" in answer) is (status in ("ConditionNotSupported", "Rejected"))
    assert change(found, many(51), "gone")["status"] == "TooManyElements"
    assert change(found, priced((0.1, {"startTimeOfDay": "8"})), "gone")["status"] == "TxNotFound"
    assert change(found, tariff("T2", validFrom=at(START_MS + 86_400_000)), name)["status"] == "Accepted"
    assert found.expect("TransactionEvent", triggerReason="TariffChanged")["transactionInfo"]["tariffId"] == "T2"


def test_who_changes_a_transaction_without_a_tariff_names_its_payer() -> None:
    found = station(start="EVConnected")
    found.plug()
    name = str(found.expect("TransactionEvent", eventType="Started")["transactionInfo"]["transactionId"])
    assert change(found, tariff("T2"), name)["status"] == "Accepted"
    assert assigned(found) == [{"tariffId": "T2", "tariffKind": "DriverTariff", "evseIds": [1]}], "nobody is known yet"
    found.meter_mwh[1] += 1_000_000
    found.present()
    assert total(end(found)) == (0.5, 0.6)


def test_a_change_is_for_who_was_authorized_after_the_start() -> None:
    found = station(start="EVConnected")
    found.plug()
    found.present()
    assert change(found, tariff("T2"))["status"] == "Accepted"
    assert [each["idTokens"] for each in assigned(found)] == [["TAG-1"]]


def test_the_tariff_is_shown_in_the_driver_s_language() -> None:
    texts = [{"format": "UTF8", "content": each, "language": each} for each in ("en", "de")]
    found = station(tariff(description=texts))
    found.answers["Authorize"] = {"idTokenInfo": {"status": "Accepted", "language1": "de"}}
    begin(found)
    assert [each.text for each in found.commands if isinstance(each, ShowTariff) and each.evse_id == 1][-1] == "de"
    change(found, tariff("T2", description=texts))
    last = [each for each in found.commands if isinstance(each, ShowTariff)][-1]
    assert (last.evse_id, last.tariff_id, last.text) == (1, "T2", "de")


def test_energy_of_an_evse_that_two_transactions_share_is_not_polled_for_either() -> None:
    charger = Charger()
    charger.bench.set("SampledDataCtrlr", "TxUpdatedInterval", "0")
    charger.bench.set("TariffCostCtrlr", "Enabled", "false", instance="RunningCost")
    charger.bench.ask("SetDefaultTariff", evseId=0, tariff=tariff("T1", 0.5))
    charger.start(0)
    second = TransactionRecord(
        transaction_id="tx-2", reference="second", evse_id=1, connector_id=1, started_ms=charger.bench.utc_ms,
        id_token="DEV2GC00000002", id_token_type="eMAID",
    )  # fmt: skip
    sample = charger.sample(0)
    charger.lead(lambda sessions: sessions.begin(second, trigger="Authorized", sample=sample))
    charger.sample(4000)
    charger.bench.wait(600)
    assert [total for total, _ in shown(charger.bench) if total] == []
    sample = charger.sample(6000)
    charger.lead(lambda s: s.finish("second", trigger="StopAuthorized", reason="Local", sample=sample))
    ended = charger.bench.expect("TransactionEvent", eventType="Ended")
    assert ended["costDetails"]["totalCost"]["total"]["exclTax"] == 3.0


def test_nothing_is_left_to_do_after_the_end_of_a_transaction() -> None:
    found = station(tariff(), variables={INTERVAL: "100", LOOKS: "60"})
    begin(found)
    end(found)
    found.wait(600)


def test_an_interval_that_has_become_shorter_is_made_up_for_by_the_next_event() -> None:
    variables = {RUNNING: "true", INTERVAL: "1000", LOOKS: "60", "SampledDataCtrlr.TxUpdatedInterval": "0"}
    found = station(tariff(), variables=variables)
    begin(found)
    found.wait(30)
    found.set("TariffCostCtrlr", "Interval", "20", instance="Cost")
    found.clear()
    found.wait(30.04)  # since the meter was polled
    found.nothing("TransactionEvent")
    found.wait(0.02)
    assert "costDetails" in found.expect("TransactionEvent", triggerReason="RunningCost")


def test_no_event_for_the_cost_alone_is_sent_over_2_0_1() -> None:
    variables = {RUNNING: "true", INTERVAL: "100", LOOKS: "60", "SampledDataCtrlr.TxUpdatedInterval": "0"}
    found = station(tariff(), variables=variables, versions=("2.1", "2.0.1"))
    begin(found)
    found.drop()
    found.version = "2.0.1"
    found.back()
    found.clear()
    found.wait(500)
    found.nothing("TransactionEvent")
