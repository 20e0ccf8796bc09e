"""Prices, profiles, sites and DER controls in the database, the same on either kind."""

import json

import msgspec
import pytest
from sqlalchemy import Connection, update

from csms.db.store import Store
from csms.dispatch import der_controls as der
from csms.dispatch import store as dispatch_store
from csms.fleets import store as fleets
from csms.fleets import tables
from csms.fleets.rules import Fleet
from csms.sites import store as site_store
from csms.sites.rules import Place, Site
from csms.smart_charging import store as charging
from csms.smart_charging.charging_plans import ProfileTemplate, TemplatePeriod, from_template, share_profile
from csms.smart_charging.rules import Needs
from csms.stations import store as stations
from csms.tariffs import store as tariffs
from csms.tariffs.store import Scope
from csms.transactions import store as transactions
from csms.transactions.events import EventArrival, add_events
from csms.transactions.rules import IMPORT_REGISTER, Event, Sample
from v2g.energy.balancing import Node
from v2g.energy.price_plan import Charge, PricePlan, Rate
from v2g.errors import RefusedError
from v2g.ocpp.messages.der_control import Gradient, NotifyDERAlarmRequest, SetDERControlRequest
from v2g.ocpp.messages.smart_charging import ChargingLimit, ChargingScheduleUpdate, NotifyChargingLimitRequest
from v2g.ocpp.messages.transactions import TransactionLimit

START = 1_900_000_000_000
ENERGY = Charge(rates=(Rate(price="0.5"),))
PLAN = PricePlan(id="p", currency="EUR", energy=ENERGY)
TEMPLATE = ProfileTemplate(name="n", purpose="TxDefaultProfile", periods=(TemplatePeriod(start_s=0, limit=1),))


def event(seq_no: int, kind: str, wh: int | None = None, state: str | None = None) -> Event:
    at_ms = START + seq_no * 3_600_000
    sample = Sample(at_ms=at_ms, measurand=IMPORT_REGISTER, value=str(wh), unit="Wh")
    return Event(
        station_id="CS",
        transaction_id="t",
        seq_no=seq_no,
        kind=kind,  # type: ignore[arg-type]
        at_ms=at_ms,
        trigger="",
        digest=str(seq_no),
        evse_id=1,
        id_token="ABC",
        token_type="ISO14443",
        charging_state=state,
        samples=() if wh is None else (sample,),
    )


def arrive(connection: Connection, *events: Event) -> None:
    stations.touch(connection, "CS", "ocpp2.1", 0)
    for each in events:
        document = (
            b'{"transactionInfo":{"chargingState":"Charging"}}' if each.charging_state else b'{"transactionInfo":{}}'
        )
        add_events(connection, [EventArrival(each, document, each.at_ms)])


def test_a_plan_keeps_its_content_and_costs_follow_it(store: Store) -> None:
    def work(connection: Connection) -> None:
        tariffs.add_plan(connection, PLAN, 1)
        tariffs.add_plan(connection, PLAN, 2)
        with pytest.raises(RefusedError, match="different content"):
            tariffs.add_plan(connection, msgspec.structs.replace(PLAN, currency="USD"), 3)
        assert not tariffs.any_assigned(connection)
        tariffs.assign(connection, Scope(station_id="CS"), "p", 4)
        assert tariffs.any_assigned(connection)
        arrive(connection, event(0, "Started", 1000, "Charging"), event(1, "Updated", 5000))
        running = tariffs.update_cost(connection, "CS", "t", START + 3_600_000)
        assert running is not None
        assert running.excl_tax == 2_000_000
        dearer = PricePlan(id="q", currency="EUR", energy=Charge(rates=(Rate(price="1"),)))
        tariffs.add_plan(connection, dearer, 5)
        transaction = transactions.get(connection, "CS", "t")
        assert transaction is not None
        tariffs.change_plan(connection, transaction, dearer, START + 3_600_000)
        arrive(connection, event(2, "Ended", 6000))
        last = tariffs.update_cost(connection, "CS", "t", START + 9_000_000)
        assert last is not None
        assert [(line.plan_id, line.excl_tax) for line in last.lines] == [("p", 2_000_000), ("q", 1_000_000)]
        kept = tariffs.cost(connection, "CS", "t")
        assert kept is not None
        assert (kept["final"], kept["excl_tax"]) == (True, 3_000_000)
        assert tariffs.unassign(connection, Scope(station_id="CS"), 1)
        with pytest.raises(RefusedError, match="in use"):
            tariffs.remove_plan(connection, "p")  # the transaction goes by it

    store.do(work)


def test_profiles_replace_each_other_as_at_the_station(store: Store) -> None:
    def held(connection: Connection) -> list[int]:
        return [each.id for _, _, each in charging.profiles(connection, "CS")]

    def work(connection: Connection) -> None:
        for number in (1, 2):  # the second has the same purpose and level: K01.FR.06
            charging.save_profile(connection, "CS", 1, from_template(TEMPLATE, number, START), "CSO", 1)
        assert held(connection) == [2]
        charging.save_profile(connection, "CS", 2, from_template(TEMPLATE, 3, START), "CSO", 1)
        external = msgspec.structs.replace(
            from_template(TEMPLATE, 4, START), charging_profile_purpose="ChargingStationExternalConstraints"
        )
        charging.save_profile(connection, "CS", 0, external, "EMS", 1)
        assert charging.clear_profiles(connection, "CS", 9, evse_id=2) == 1
        assert charging.clear_profiles(connection, "CS", 9) == 1
        assert held(connection) == [4]
        arrive(connection, event(0, "Started", 0))
        charging.save_profile(connection, "CS", 1, share_profile(1, 9_000, 3, START, "t"), "CSO", 1)
        request = NotifyChargingLimitRequest(charging_limit=ChargingLimit(charging_limit_source="EMS"))
        charging.save_limit(connection, "CS", request, START)
        transactions.save_needs(connection, "CS", "t", Needs(evse_id=1, requested="DC", most_w=5000))
        assert transactions.save_priority(connection, "CS", "t", 2)
        seen = charging.look(connection, "CS", START)
        assert seen.shares == {1: 9_000}
        assert (seen.known[1].priority, seen.known[1].external_w) == (2, None)
        assert charging.clear_limit(connection, "CS", 0, "EMS", 5)
        assert not charging.clear_limit(connection, "CS", 0, "EMS", 5)
        arrive(connection, event(1, "Ended"))
        assert held(connection) == [4]  # the transaction took its profiles with it

    store.do(work)


def test_needs_that_are_sent_again_count_from_then_and_keep_the_priority(store: Store) -> None:
    """A vehicle that wants 30 kWh, and after 20 of them 10, wants 10."""

    def work(connection: Connection) -> None:
        needs = Needs(evse_id=1, requested="AC_three_phase", energy_wh=30_000)
        arrive(connection, event(0, "Started", 0))
        transactions.save_needs(connection, "CS", "t", needs)
        assert transactions.save_priority(connection, "CS", "t", 1)
        arrive(connection, event(1, "Updated", 20_000))
        assert charging.look(connection, "CS", START).known[1].taken_wh == 20_000
        transactions.save_needs(connection, "CS", "t", msgspec.structs.replace(needs, energy_wh=10_000))
        known = charging.look(connection, "CS", START).known[1]
        assert (known.taken_wh, known.priority) == (0, 1)
        arrive(connection, event(2, "Updated", 24_000))
        assert charging.look(connection, "CS", START).known[1].taken_wh == 4_000

    store.do(work)


def test_needs_that_are_sent_again_leave_what_the_driver_wishes(store: Store) -> None:
    """20 kWh until 9:00 by an app: whatever the vehicle asks for before and after."""

    def work(connection: Connection) -> None:
        needs = Needs(evse_id=1, requested="DC", energy_wh=60_000, departure_ms=START + 1000)
        arrive(connection, event(0, "Started", 0))

        def known(*, sent: bool) -> tuple[int | None, int]:
            if sent:
                found = transactions.save_needs(connection, "CS", "t", needs)
                assert found == charging.look(connection, "CS", START).known[1].needs
            seen = charging.look(connection, "CS", START).known[1]
            assert seen.needs is not None
            return seen.needs.departure_ms, seen.needs.energy_wh - seen.taken_wh

        transactions.save_wishes(connection, "CS", "t", START + 9000, 20_000)  # before the vehicle's needs
        assert known(sent=False) == known(sent=True) == (START + 9000, 20_000)
        arrive(connection, event(1, "Updated", 5_000))
        assert known(sent=False) == known(sent=True) == (START + 9000, 15_000)
        arrive(connection, event(2, "Updated", 20_000))
        assert known(sent=True) == (START + 9000, 1)
        transactions.save_wishes(connection, "CS", "t", None, 3_000)
        assert known(sent=True) == (START + 1000, 3_000)
        transactions.save_wishes(connection, "CS", "t", None, None)
        assert known(sent=True) == (START + 1000, 60_000)
        transactions.save_wishes(connection, "CS", "none", 1, 1)
        assert transactions.save_needs(connection, "CS", "none", needs) == needs

    store.do(work)


def test_sites_templates_and_dynamic_values_are_kept_by_name(store: Store) -> None:
    site = Site(
        id="s",
        nodes=(Node(id="n", limits=(1, 2, 3)),),
        places=(Place(station_id="CS", evse_id=1, node="n", most_ma=1),),
    )

    def work(connection: Connection) -> None:
        for changed in (site, msgspec.structs.replace(site, waiting_ma=7)):
            site_store.save_site(connection, changed, 1)
            assert site_store.site(connection, "s") == changed
        assert [each.id for each in site_store.all_sites(connection)] == ["s"]
        assert site_store.remove_site(connection, "s")
        assert site_store.site(connection, "s") is None
        charging.save_template(connection, TEMPLATE, 1)
        assert charging.templates(connection) == [TEMPLATE]
        assert charging.remove_template(connection, "n")
        updates = [ChargingScheduleUpdate(setpoint=each) for each in (-3.0, -2.0, -1.0)]
        items = [
            charging.Dynamic("CS", profile, each, 1) for profile, each in zip((301, 302, 301), updates, strict=True)
        ]
        charging.save_dynamic(connection, items)
        assert charging.dynamic(connection, "CS", 301) == updates[2], "the later one"
        assert charging.dynamic(connection, "CS", 302) == updates[1]
        charging.save_ev_schedule(connection, "CS", 1, b"{}", 1, within_limits=False)
        found = charging.ev_schedule(connection, "CS", 1)
        assert found is not None
        assert found["within_limits"] is False

    store.do(work)


def test_controls_are_superseded_started_and_cleared(store: Store) -> None:
    control = SetDERControlRequest(
        is_default=True,
        control_id="a",
        control_type="Gradients",
        gradient=Gradient(priority=1, gradient=1.0, soft_gradient=1.0),
    )

    def work(connection: Connection) -> None:
        for name in ("a", "b"):
            der.save_control(connection, "CS", msgspec.structs.replace(control, control_id=name), 1)
        der.supersede(connection, "CS", ("a",), 2)
        der.start_stop(connection, "CS", "b", 3, started=True)
        found = {each["control_id"]: (each["superseded"], each["started"]) for each in der.controls(connection, "CS")}
        assert found == {"a": (True, False), "b": (False, True)}
        assert der.clear_controls(connection, "CS", is_default=False, control_type=None, control_id=None) == 0
        assert der.clear_controls(connection, "CS", is_default=True, control_type="Gradients", control_id=None) == 2
        der.add_alarm(
            connection, "CS", NotifyDERAlarmRequest(control_type="FreqWatt", timestamp="2030-01-01T00:00:00Z"), 5
        )
        assert [each["ended"] for each in der.alarms(connection, None, 100, "CS")] == [False]

    store.do(work)


def test_a_wanted_limit_is_kept_until_it_was_sent(store: Store) -> None:
    def work(connection: Connection) -> None:
        assert not transactions.want_limit(connection, "CS", "t", TransactionLimit(max_energy=1.0))
        arrive(connection, event(0, "Started", 0))
        assert transactions.want_limit(connection, "CS", "t", TransactionLimit(max_energy=2.0))
        assert transactions.want_limit(connection, "CS", "t", TransactionLimit(max_energy=1.0))
        told = (transactions.limit_told(connection, "CS", "t", f'{{"maxEnergy":{wh}}}') for wh in (2.0, 1.0, 1.0))
        assert list(told) == [False, True, False], "it is another one meanwhile, it is, it was"
        arrive(connection, event(1, "Updated", 1))
        found = transactions.get(connection, "CS", "t")
        assert found is not None
        assert (found.wanted_limit, found.limit_told) == ('{"maxEnergy":1.0}', True)
        assert transactions.close_lost(connection, "CS", "t", 9, "operator") is not None
        assert transactions.close_lost(connection, "CS", "t", 9, "operator") is None
        assert not transactions.want_limit(connection, "CS", "t", TransactionLimit(max_energy=1.0))

    store.do(work)


def test_sums_of_set_points_are_numbers_also_when_they_are_zero(store: Store) -> None:
    """PostgreSQL sums as decimals, which JSON has as texts."""
    zero = dispatch_store.CoursePoint(at_ms=0, asked_w=0, accepted_w=0, delivered_w=0, vehicles=0)
    for node in ("a", "b"):
        store.do(dispatch_store.note_course, node, zero)
    assert msgspec.json.encode(store.do(dispatch_store.course, 0)) == msgspec.json.encode([zero])


async def test_a_fleet_that_was_stored_with_preheating_is_read_without_it(store: Store) -> None:
    await store.run(fleets.save, Fleet(id="depot"), START)
    old = json.loads(msgspec.json.encode(Fleet(id="depot")))
    old["climate"] |= {"preheat_below_c": 5.0, "preheat_ms": 1_800_000}

    def rewrite(connection: Connection) -> None:
        connection.execute(update(tables.fleets).values(document=json.dumps(old)))

    await store.run(rewrite)
    assert await store.read(fleets.get, "depot") == Fleet(id="depot")
    assert await store.read(fleets.every) == [Fleet(id="depot")]
