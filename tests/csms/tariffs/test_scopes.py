"""To whom a plan applies: the driver's own before the group's, and the narrower place before the wider."""

from msgspec.structs import replace
from sqlalchemy import Connection

from csms.db.store import Store
from csms.sites.rules import Site
from csms.sites.store import save_site
from csms.stations import store as stations
from csms.tariffs import store as tariffs
from csms.tariffs.store import Scope
from csms.tokens import store as tokens
from csms.tokens.rules import Terms, Token
from v2g import typed_json
from v2g.energy.price_plan import PricePlan

HERE = Scope(station_id="CS-1", evse_id=1, token_type="Central", id_token="A")
ASSIGNED = (
    ("all", Scope(), HERE),
    ("site", Scope(site_id="north"), HERE),
    ("station", Scope(station_id="CS-1"), HERE),
    ("evse", Scope(station_id="CS-1", evse_id=1), HERE),
    ("group", Scope(group_id="fleet"), HERE),
    ("own", Scope(token_type="Central", id_token="A"), HERE),
)


def test_each_narrower_scope_stands_before_the_wider_and_the_drivers_before_the_place(store: Store) -> None:
    def check(connection: Connection) -> None:
        places = [{"station_id": "CS-1", "evse_id": 1, "node": "main", "most_ma": 32_000}]
        body = {"id": "north", "nodes": [{"id": "main", "limits": [63_000] * 3}], "places": places}
        save_site(connection, typed_json.convert(body, Site), 1)
        tokens.put(connection, Token("Central", "A", "Accepted", (), Terms(group_id="fleet")))
        for name, scope, wanted in ASSIGNED:
            tariffs.add_plan(connection, PricePlan(id=name, currency="EUR"), 1)
            tariffs.assign(connection, scope, name, 1)
            tariffs.assign(connection, scope, name, 2)  # in place of the same
            found = tariffs.find_plan(connection, wanted)
            assert found is not None
            assert found.id == name
            assert not tariffs.remove_plan(connection, "unknown")
        by_place = {
            Scope(station_id="CS-1", evse_id=2): "station", Scope(station_id="CS-2", evse_id=1): "all",
            Scope(station_id="CS-1"): "station", Scope(token_type="Central", id_token="B"): "all",
        }  # fmt: skip
        for scope, name in by_place.items():
            found = tariffs.find_plan(connection, scope)
            assert found is not None
            assert found.id == name, scope
        assert {scope for scope, _ in tariffs.assignments(connection)} == {scope for _, scope, _ in ASSIGNED}
        driver = tariffs.find_driver_plan(connection, HERE)
        assert driver is not None
        assert driver.id == "own"
        assert tariffs.unassign(connection, ASSIGNED[-1][1], 3)
        driver = tariffs.find_driver_plan(connection, HERE)
        assert driver is not None
        assert driver.id == "group"
        assert tariffs.find_driver_plan(connection, Scope(station_id="CS-1")) is None
        elsewhere = Scope(station_id="CS-2", token_type="Central", id_token="B")
        tariffs.assign(connection, elsewhere, "own", 3)
        assert tariffs.find_driver_plan(connection, elsewhere) is not None
        here = replace(elsewhere, station_id="CS-1")
        assert tariffs.find_driver_plan(connection, here) is None, "this station has its own for everybody"
        assert tariffs.unassign(connection, elsewhere, 3)
        for _, scope, _ in reversed(ASSIGNED[:-1]):
            assert tariffs.any_assigned(connection)
            assert tariffs.unassign(connection, scope, 3)
            assert not tariffs.unassign(connection, scope, 3)
        assert not tariffs.any_assigned(connection)
        assert tariffs.remove_plan(connection, "site")

    store.do(check)


def test_a_station_of_a_site_has_its_plan_at_each_of_its_evses_there(store: Store) -> None:
    def check(connection: Connection) -> None:
        places = [{"station_id": "CS-1", "evse_id": 1, "node": "main", "most_ma": 32_000}]
        body = {"id": "north", "nodes": [{"id": "main", "limits": [63_000] * 3}], "places": places}
        save_site(connection, typed_json.convert(body, Site), 1)
        tariffs.add_plan(connection, PricePlan(id="site", currency="EUR"), 1)
        for name in ("north", "gone"):
            tariffs.assign(connection, Scope(site_id=name), "site", 1)
        for scope, there in (
            (Scope(station_id="CS-1"), True),
            (HERE, True),
            (Scope(station_id="CS-1", evse_id=2), False),
        ):
            assert (tariffs.find_plan(connection, scope) is not None) == there, scope

    store.do(check)


def test_what_began_before_an_assignment_has_changed_keeps_its_plan(store: Store) -> None:
    def check(connection: Connection) -> None:
        for name in ("old", "new", "site"):
            tariffs.add_plan(connection, PricePlan(id=name, currency="EUR"), 1)
        body = {"id": "north", "nodes": [{"id": "main", "limits": [63_000] * 3}],
                "places": [{"station_id": "CS-1", "evse_id": 1, "node": "main", "most_ma": 32_000}]}  # fmt: skip
        save_site(connection, typed_json.convert(body, Site), 1)
        tariffs.assign(connection, Scope(), "old", 100)
        tariffs.assign(connection, Scope(site_id="north"), "site", 200)
        tariffs.unassign(connection, Scope(site_id="north"), 300)
        tariffs.assign(connection, Scope(), "new", 400)
        tariffs.assign(connection, Scope(), "new", 450)  # it is assigned since 400
        tariffs.unassign(connection, Scope(id_token=""), 500)  # which is any token, as without one
        tariffs.assign(connection, Scope(), "new", 600)

        def then(at_ms: int) -> str | None:
            found = tariffs.find_plan(connection, HERE, at_ms)
            return found and found.id

        times = (100, 199, 200, 299, 300, 399, 400, 499, 500, 599, 600)
        expected = ("old", "old", "site", "site", "old", "old", "new", "new", None, None, "new")
        assert tuple(then(each) for each in times) == expected
        assert then(99) == "new", "a wrong clock makes no session free"
        assert tariffs.remove_plan(connection, "old")
        assert then(150) == "new", "its plan is gone"

    store.do(check)


def test_an_assignment_that_has_ended_is_known_for_400_days(store: Store) -> None:
    """A station that was away for longer reports no session of before."""

    def check(connection: Connection) -> None:
        for name in ("old", "new"):
            tariffs.add_plan(connection, PricePlan(id=name, currency="EUR"), 1)
        tariffs.assign(connection, Scope(), "old", 100)
        tariffs.assign(connection, Scope(), "new", 300)
        for now_ms, known in ((300 + 400 * 86_400_000, "old"), (301 + 400 * 86_400_000, "new")):
            tariffs.assign(connection, Scope(station_id="CS-2"), "old", now_ms)
            tariffs.unassign(connection, Scope(station_id="CS-2"), now_ms)
            found = tariffs.find_plan(connection, HERE, 200)
            assert found is not None
            assert found.id == known

    store.do(check)


def test_each_evse_of_a_station_has_its_plan(store: Store) -> None:
    """That it has reported, that has a plan of its own, or that is of a site with one; and 0 for any other."""

    def check(connection: Connection) -> None:
        assert tariffs.plans_at(connection, "CS-1") == {}
        for name in ("all", "own", "site", "drivers"):
            tariffs.add_plan(connection, PricePlan(id=name, currency="EUR"), 1)
        assert tariffs.plans_at(connection, "CS-1") == {0: None}
        for station_id, evse_id in (("CS-1", 1), ("CS-2", 7)):
            stations.touch(connection, station_id, "ocpp2.0.1", 1)
            stations.save_connector(connection, station_id, evse_id, 1, "Available", 1)
        for site_id, stands in (("north", (("CS-1", 3), ("CS-2", 8))), ("south", (("CS-1", 4),))):
            places = [
                {"station_id": station_id, "evse_id": evse_id, "node": "main", "most_ma": 32_000}
                for station_id, evse_id in stands
            ]
            body = {"id": site_id, "nodes": [{"id": "main", "limits": [63_000] * 3}], "places": places}
            save_site(connection, typed_json.convert(body, Site), 1)
        for scope, name in (
            (Scope(), "all"),
            (Scope(station_id="CS-1", evse_id=2), "own"),
            (Scope(station_id="CS-2", evse_id=9), "own"),
            (Scope(station_id="CS-1", evse_id=5, token_type="Central", id_token="A"), "drivers"),
            (Scope(site_id="north"), "site"),
        ):
            tariffs.assign(connection, scope, name, 1)
        found = tariffs.plans_at(connection, "CS-1")
        names = {evse_id: each and each.id for evse_id, each in found.items()}
        assert names == {0: "site", 1: "all", 2: "own", 3: "site"}

    store.do(check)
