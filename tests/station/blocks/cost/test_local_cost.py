"""What the station works out for transactions, against counting minute by minute with nothing but the tariff."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.certification.station.bench import START_MS, Bench, Payload
from tests.certification.station.test_block_i_tariffs import begin, end, station, tariff
from v2g.ocpp.messages.authorization import AuthorizeRequest, IdToken
from v2g_station.blocks.cost.local_cost import ShowCost
from v2g_station.blocks.transactions.managed import ManagedSessions
from v2g_station.blocks.transactions.transactions import MeterSample, TransactionRecord
from v2g_station.kernel.kernel import Keep, Send

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
        for field, price, quantity in (
            ("energy", "priceKwh", Decimal(MINUTE_WH) / 1000 if charging else Decimal(0)),
            ("chargingTime" if charging else "idleTime", "priceMinute", Decimal(1)),
        ):
            charge = wanted.get(field, {"prices": []})
            for each in charge["prices"]:
                if applies(each.get("conditions", {}), clock, spent, MINUTE_WH * 60 if charging else 0):
                    amount = quantity * Decimal(str(each[price]))
                    if not full():
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
        self.bench.station = self.station = self.bench._make("PowerUp", same_boot=True)
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


def test_no_cost_is_told_that_is_not_kept_first() -> None:
    found = station(tariff())
    batches: list[list[Any]] = []
    carry_out = found._carry_out
    found._carry_out = lambda actions: (batches.append(actions), carry_out(actions))[1]  # type: ignore[method-assign]
    begin(found)
    for actions in batches:
        sent = [each for each in actions if isinstance(each, Send) and '"TransactionEvent"' in each.text]
        kept = {each.collection for each in actions if isinstance(each, Keep)}
        if sent and "outbox" in kept:
            assert "costs" in kept
    assert any(isinstance(each, Keep) and each.collection == "costs" for actions in batches for each in actions)
