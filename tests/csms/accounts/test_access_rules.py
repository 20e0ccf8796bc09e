"""Who may do what in the API and the console: by role, scope, site and vehicle, and by which secret they are known."""

import hashlib
from types import SimpleNamespace

import pytest

from csms.accounts.rules import (
    ALLOWED,
    IDLE_MS,
    NAME,
    OF_VEHICLES,
    SESSION_MS,
    Permission,
    Principal,
    Role,
    Sites,
    allowed,
    balanced,
    bearer_digest,
    check_factor,
    check_password,
    check_role,
    evs_of,
    find_bearer,
    find_certificate,
    is_over,
    may_handle,
    permissions,
    principal_of,
    sees,
    steps_at,
)
from csms.sites.rules import Site
from tests.together import together
from v2g.energy.balancing import Node
from v2g.errors import RefusedError
from v2g.telemetry.signals import SIGNALS

ADA = Principal("ada", Role.OPERATOR)


def test_roles_and_permissions_are_written_as_they_are_called() -> None:
    for each in (*Permission, *Role):
        assert each.value == each.name.lower()


READS = {each for each in Permission if each.value.startswith("read_")}
OF_PERSONS = {Permission.READ_VEHICLES, Permission.READ_BATTERIES, Permission.READ_ROUTES, Permission.READ_AGGREGATES}
HIDDEN = OF_PERSONS | {Permission.READ_SELF, Permission.READ_TELEMETRY, Permission.READ_AUDIT, Permission.READ_TOKENS}


def test_a_role_has_no_more_than_its_work_needs() -> None:
    assert ALLOWED[Role.ADMIN] == set(Permission)
    assert ALLOWED[Role.VIEWER] == READS - HIDDEN
    assert ALLOWED[Role.VIEWER] <= ALLOWED[Role.OPERATOR]
    for role in (Role.OPERATOR, Role.INSTALLER, Role.BILLING, Role.VIEWER):
        assert not ALLOWED[role] & OF_PERSONS
    for role in OF_VEHICLES:
        assert ALLOWED[role] <= OF_PERSONS | {
            Permission.READ_ALERTS,
            Permission.WRITE_ALERTS,
            Permission.ERASE_TELEMETRY,
            Permission.WRITE_BATTERIES,
        }
    money = {Permission.CLOSE_PERIODS, Permission.CORRECT_SETTLEMENTS, Permission.WRITE_MANDATES}
    assert {role for role in Role if ALLOWED[role] & money} == {Role.ADMIN, Role.BILLING}
    trust = {Permission.MANAGE_ACCESS, Permission.WRITE_CERTIFICATES, Permission.READ_AUDIT}
    assert {role for role in Role if ALLOWED[role] & trust} == {Role.ADMIN}


@together(
    ("role", "permission"),
    [
        (Role.OPERATOR, Permission.COMMAND_STATIONS),
        (Role.INSTALLER, Permission.ADMIT_STATIONS),
        (Role.BILLING, Permission.READ_TRANSACTIONS),
        (Role.GRID_OPERATOR, Permission.WRITE_GRID),
        (Role.GATEWAY, Permission.WRITE_TELEMETRY),
        (Role.DRIVER, Permission.READ_ROUTES),
        (Role.DRIVER, Permission.ERASE_TELEMETRY),
        (Role.FLEET, Permission.READ_VEHICLES),
        (Role.FLEET, Permission.WRITE_BATTERIES),
        (Role.INSURER, Permission.READ_AGGREGATES),
        (Role.MONITOR, Permission.READ_METRICS),
    ],
)
def test_a_role_may_do_its_work_and_a_scope_only_takes_away(role: Role, permission: Permission) -> None:
    assert allowed(Principal("ada", role), permission)
    for scopes in (frozenset[Permission](), frozenset({Permission.PUBLIC})):
        assert not allowed(Principal("ada", role, scopes=scopes), permission)
    narrow = Principal("ada", role, scopes=frozenset({permission, Permission.MANAGE_ACCESS}))
    assert permissions(narrow) == {permission}
    assert allowed(narrow, Permission.READ_SELF)
    assert allowed(None, permission) is False


def test_only_what_is_public_needs_no_caller() -> None:
    assert {each for each in Permission if allowed(None, each)} == {Permission.PUBLIC}
    assert allowed(Principal("ada", Role.MONITOR), Permission.PUBLIC)


def test_vehicles_have_to_be_named_for_those_who_have_some() -> None:
    for role in Role:
        nobody = Principal("ada", role, evs_of(role, None))
        assert may_handle(nobody, "EV-1") == (role not in OF_VEHICLES)
        assert evs_of(role, ()) == ()
        assert evs_of(role, ("EV-1",)) == ("EV-1",)
    assert Principal("ada", Role.FLEET, ("EV-1", "*")).only_evs is None
    named = Principal("ada", Role.FLEET, ("EV-1", "EV-2"))
    assert named.only_evs == ("EV-1", "EV-2")
    assert may_handle(named, "EV-2")
    assert not may_handle(named, "EV-3")
    assert ADA.only_evs is None


SEEN = {
    Role.GRID_OPERATOR: {"battery.soc", "battery.power", "charging.power", "grid.frequency", "vehicle.contactor"}
    | {"battery.energy.charged", "battery.energy.discharged", "vehicle.power_request"},
    Role.INSURER: {"battery.soc", "battery.soh", "motor.speed", "ambient.temperature"}
    | {"battery.energy.charged", "battery.energy.discharged"}
    | {name for name in SIGNALS if name.startswith("battery.temperature.")},
}


def test_only_signals_of_its_task_are_shown_to_a_grid_operator_and_an_insurer() -> None:
    for role in Role:
        caller = Principal("ada", role)
        assert {name for name in SIGNALS if sees(caller, name)} == SEEN.get(role, set(SIGNALS))


def test_a_bearer_token_is_read_from_its_header() -> None:
    digest = hashlib.sha256(b"secret").hexdigest()
    for header in (b"Bearer secret", b"bearer  secret ", b"BEARER secret"):
        assert bearer_digest(header) == digest
    for header in (b"", b"Bearer", b"Bearer ", b"Basic secret", b"secret"):
        assert bearer_digest(header) is None


def test_the_owner_of_a_secret_is_found_with_the_vehicles_of_its_entry() -> None:
    one, two = (hashlib.sha256(name).hexdigest() for name in (b"1", b"2"))
    known = (("a", Role.FLEET, one, None), ("b", Role.FLEET, two, ("EV-1",)), ("c", Role.VIEWER, "9" * 64, None))
    assert find_bearer(one, known) == Principal("a", Role.FLEET, (), id=f"configured {one[:32]}")
    assert find_bearer(two, known) == Principal("b", Role.FLEET, ("EV-1",), id=f"configured {two[:32]}")
    assert find_bearer(one.upper(), known) is None
    assert find_bearer("", known) is None


def test_a_certificate_without_vehicles_is_of_the_one_that_it_names() -> None:
    name = "x" * 200
    known = ((name, Role.GATEWAY, ()), ("two", Role.FLEET, ("EV-1", "EV-2")))
    assert find_certificate(name, known) == Principal(name, Role.GATEWAY, (name,), id=f"certificate {name[:116]}")
    assert find_certificate("two", known) == Principal("two", Role.FLEET, ("EV-1", "EV-2"), id="certificate two")
    assert find_certificate("three", known) is None


def test_a_vehicle_of_a_load_balancer_is_a_gateway_for_itself() -> None:
    assert balanced("EV-1") == Principal("EV-1", Role.GATEWAY, ("EV-1",), id="certificate EV-1")
    assert balanced("x" * 64) is not None
    for name in ("", "*", "a b", "EV-1\n", "x" * 65):
        assert balanced(name) is None


def test_what_says_whose_it_is_belongs_to_its_site() -> None:
    sites = Sites(frozenset({"depot"}), frozenset({"CS"}))
    for name in ("depot", "other", "CS"):
        assert sites.have(Site(id=name, nodes=(Node(id="main", limits=(1, 1, 1)),))) == (name == "depot")
    for station in ("CS", "CS-OTHER", "depot", None):
        for item in ({"station_id": station}, SimpleNamespace(station_id=station)):
            assert sites.have(item) is (station == "CS")
    for unknown in ({}, SimpleNamespace(), "CS"):
        assert sites.have(unknown) is None


def test_a_caller_is_for_all_vehicles_and_sites_unless_it_is_said() -> None:
    assert Principal("ada", Role.OPERATOR, ("*",), None, "", None) == ADA


@together("name", ["a", "9", "ada.b_c@depot+1-x", "a" * 64, "", "Ada", ".a", "@", "a" * 65, "a b", "a\n"])
def test_a_name_at_the_login_is_short_and_plain(name: str) -> None:
    assert (NAME.fullmatch(name) is not None) == (name in ("a", "9", "ada.b_c@depot+1-x", "a" * 64))


def test_a_person_is_limited_to_sites_and_named_as_a_user() -> None:
    sites = Sites(frozenset({"depot"}))
    assert principal_of("ada", Role.VIEWER, sites) == Principal("ada", Role.VIEWER, id="user ada", sites=sites)
    assert principal_of("ada", Role.ADMIN).sites is None


def test_people_have_roles_of_people() -> None:
    people = {Role.ADMIN, Role.OPERATOR, Role.VIEWER, Role.INSTALLER, Role.BILLING, Role.GRID_OPERATOR}
    for role in Role:
        if role in people:
            check_role(role)
            continue
        with pytest.raises(RefusedError) as refused:
            check_role(role)
        assert refused.value.reason == "role"
        assert refused.value.hint == "one of admin, operator, viewer, installer, billing, grid_operator"


@together(
    ("password", "name", "fits"),
    [
        ("abcdefgh1234", "ada", True),
        ("abcdefgh123", "ada", False),
        ("abcde" * 25 + "abc", "ada", True),
        ("abcde" * 25 + "abcd", "ada", False),
        ("seven wild\tgeese", "ada", False),
        ("seven wild geese", "wild", False),
        ("seven WILD geese", "Wild", False),
        ("seven wild geese", "wil", False),
        ("seven wild geese", "en", True),  # of so short a name many words have the letters
        ("abcdabcdabcd", "eve", False),
        ("abcdeabcdeab", "eve", True),
        ("abcdabcdABCDabca", "eve", False),
        ("passwordpassword", "eve", False),
        ("Charge Charge charge ", "eve", False),
        ("passwordpassword!", "eve", True),
    ],
)
def test_a_password_is_neither_short_nor_easily_guessed(password: str, name: str, fits: bool) -> None:
    if fits:
        check_password(password, name)
        return
    with pytest.raises(RefusedError) as refused:
        check_password(password, name)
    assert refused.value.reason == "password"


def test_a_second_factor_has_160_bits() -> None:
    check_factor("A2" * 16)
    for wrong in ("", "A2" * 15, "A2" * 17, "a2" * 16, "A1" * 16, "A2" * 16 + "\n"):
        with pytest.raises(RefusedError) as refused:
            check_factor(wrong)
        assert refused.value.reason == "factor"


@together("scale", [1.0, 2.0])
def test_a_session_ends_after_a_shift_and_an_hour_without_use(scale: float) -> None:
    assert (SESSION_MS, IDLE_MS) == (43_200_000, 3_600_000)
    shift, hour = int(SESSION_MS * scale), int(IDLE_MS * scale)
    for created, seen, over in ((shift, 0, True), (shift - 1, 0, False), (hour, hour, True), (hour, hour - 1, False)):
        assert is_over(-created, -seen, 0, scale) is over
    assert is_over(-hour, -hour, 0) == (scale >= 1)
    assert is_over(1 - IDLE_MS, 1 - IDLE_MS, 0) is False


def test_codes_of_neighbouring_steps_are_accepted_too() -> None:
    for now_ms, step in ((0, 0), (29_999, 0), (30_000, 1), (1_767_225_600_000, 58_907_520)):
        assert steps_at(now_ms) == (step - 1, step, step + 1)
