"""What a site's EVSEs may draw before and after their first share, and which of them are connected."""

from csms.sites.rules import Place, Site
from csms.sites.work import look_at
from csms.smart_charging import store as charging
from csms.smart_charging.charging_plans import share_profile, waiting_profile
from tests.csms.backend import Backend
from tests.csms.charging import Charging
from v2g.energy.balancing import Node

NAMES = ("CS-V2G-0001", "CS-V2G-0002")


def site(waiting_ma: int) -> Site:
    places = tuple(
        Place(station_id=name, evse_id=evse_id, node="main", most_ma=32_000)
        for evse_id, name in ((1, NAMES[1]), (1, NAMES[0]), (2, NAMES[0]))
    )
    return Site(id="yard", nodes=(Node(id="main", limits=(1, 1, 1)),), places=places, waiting_ma=waiting_ma)


async def test_what_a_transaction_may_draw_before_and_after_its_share(csms: Backend) -> None:
    station = await csms.booted(NAMES[0])
    known, given = await look_at(csms.services, site(6_000))
    assert list(known) == ["CS-V2G-0001/1", "CS-V2G-0001/2", "CS-V2G-0002/1"]
    assert [each.connected for each in known.values()] == [True, True, False]
    assert given == {}
    charge = Charging(csms, station)
    await charge.started()
    known, given = await look_at(csms.services, site(6_000))
    assert given == {"CS-V2G-0001/1": 32_000}, "nothing holds it back"
    run, now_ms = csms.services.store.run, csms.clock.utc_ms()
    await run(charging.save_profile, NAMES[0], 0, waiting_profile(6_000, now_ms), charging.CSO, now_ms)
    assert (await look_at(csms.services, site(6_000)))[1] == {"CS-V2G-0001/1": 6_000}
    assert (await look_at(csms.services, site(40_000)))[1] == {"CS-V2G-0001/1": 32_000}
    share = share_profile(1, 9_000, 3, now_ms, charge.id)
    await run(charging.save_profile, NAMES[0], 1, share, charging.CSO, now_ms)
    known, given = await look_at(csms.services, site(6_000))
    assert given == {"CS-V2G-0001/1": 9_000}
    assert known["CS-V2G-0001/1"].transaction is not None
    assert known["CS-V2G-0001/2"].transaction is None


async def test_a_limit_of_the_whole_station_is_that_of_each_evse_without_a_transaction(csms: Backend) -> None:
    station = await csms.booted(NAMES[0])
    period = {"startPeriod": 0, "limit": 4140.0}
    schedule = {"id": 1, "chargingRateUnit": "W", "chargingSchedulePeriod": [period]}
    await station.call(
        "NotifyChargingLimit", {"chargingLimit": {"chargingLimitSource": "EMS"}, "chargingSchedule": [schedule]}
    )
    known, _ = await look_at(csms.services, site(6_000))
    assert [each.external_w for each in known.values()] == [4140.0, 4140.0, None]


async def test_an_evse_whose_contactor_does_not_open_is_not_controlled(csms: Backend) -> None:
    """Evse 2 of a station that is faulted at both."""
    station = await csms.booted(NAMES[0])
    charges = [Charging(csms, station, evse_id=evse_id) for evse_id in (1, 2)]
    event = {
        "eventId": 1, "timestamp": charges[0].now(), "trigger": "Alerting", "actualValue": "true",
        "component": {"name": "PowerContactor", "evse": {"id": 2}}, "variable": {"name": "Problem"},
        "eventNotificationType": "HardWiredNotification",
    }  # fmt: skip
    request = {"generatedAt": charges[0].now(), "seqNo": 0, "eventData": [event]}
    await station.call("NotifyEvent", request)
    assert not any(each.uncontrolled for each in (await look_at(csms.services, site(0)))[0].values())
    for each in charges:
        await each.connector("Faulted")
    known, _ = await look_at(csms.services, site(0))
    assert [each.uncontrolled for each in known.values()] == [False, True, False]
