"""At the door: who may come in, who is listed, what is wrong with those that fail, and what to do about it."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Sequence

import msgspec
import pytest
import websockets
from sqlalchemy import Connection

from csms.admission import store as rows
from csms.admission.rules import Known
from csms.admission.work import StationAdmissions
from csms.commands import work as raw_commands
from csms.config import CsmsConfig, FurtherListener
from csms.overview.store import stations_overview
from csms.station_security.store import list_events
from pki_tools.tree import PkiTree
from tests.csms.backend import BOOT, Backend
from tests.csms.fixtures import Start, backend
from tests.csms.network import knocking, listening
from v2g import typed_json
from v2g.config import parse_config
from v2g.errors import ConfigError, RefusedError
from v2g.io.websocket.server import Credentials, Handshake, Secret
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.provisioning import NetworkConnectionProfile, SetNetworkProfileRequest, SetVariablesRequest
from v2g.pki.password_hash import password_fits
from v2g.typed_json import Fields

__all__ = ["backend"]

CS, NEW = "CS-V2G-0001", "CS-NEW"
PASSWORD = "a-Password_of=32*characters+4321"
PLAIN = {"security_profile": 1, "port": 0}


async def entries(csms: Backend, *, undecided: bool) -> list[Fields]:
    """Return stations that may connect or have tried to."""
    return await csms.services.store.read(rows.list_admissions, undecided=undecided)


async def refused(port: int, identity: str, **how: object) -> tuple[int, str]:
    """Knock in vain; return status and words."""
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with knocking(port, identity, **how):  # type: ignore[arg-type]
            pass
    return caught.value.response.status_code, (caught.value.response.body or b"").decode()


async def test_a_station_that_nobody_knows_is_listed_and_comes_in_once_it_is_admitted(backend: Start) -> None:
    async with backend(ocpp=PLAIN) as csms, listening(csms) as (port,):
        admissions = csms.services[StationAdmissions]
        for _ in range(3):
            status, words = await refused(port, NEW, password=PASSWORD, versions=("ocpp2.1", "ocpp2.0.1"))
            assert (status, "known" in words) == (401, False)
        (seen,) = await entries(csms, undecided=True)
        assert (seen["station_id"], seen["attempts"], seen["boot"]) == (NEW, 3, "")
        assert (seen["offered"], seen["security_profile"]) == ("ocpp2.1, ocpp2.0.1", 1)
        await admissions.decide(NEW, "Accepted", "anna")
        await admissions.set_password(NEW, PASSWORD)
        async with knocking(port, NEW, password=PASSWORD) as station:
            assert (await station.call("BootNotification", BOOT))["status"] == "Accepted"
        (known,) = await entries(csms, undecided=False)
        assert (known["decided_by"], known["has_password"]) == ("anna", True)
        assert not any("scrypt" in str(value) for value in known.values())
        assert await admissions.forget(NEW)
        assert (await refused(port, NEW, password=PASSWORD))[0] == 401


@pytest.mark.parametrize("place", ["SecurityCtrlr", "NetworkConfiguration", "SetNetworkProfile"])
@pytest.mark.parametrize("accepts", [True, False])
async def test_a_password_by_a_raw_command_is_adopted_when_the_station_accepts_it(
    backend: Start, place: str, accepts: bool
) -> None:
    async with backend(ocpp=PLAIN) as csms, listening(csms) as (port,):
        await csms.services[StationAdmissions].set_password(CS, PASSWORD)
        status = "Accepted" if accepts else "Rejected"
        other = "another-Password_of=32*characters"[:32]
        variable = {"component": {"name": place, "instance": "3"}, "variable": {"name": "BasicAuthPassword"}}
        request: Message
        if place == "SetNetworkProfile":
            request = SetNetworkProfileRequest(
                configuration_slot=3,
                connection_data=NetworkConnectionProfile(
                    ocpp_interface="Any", ocpp_transport="JSON", message_timeout=30, security_profile=1,
                    ocpp_csms_url="ws://csms.example/ocpp", basic_auth_password=other,
                ),
            )  # fmt: skip
        else:
            data = {"setVariableData": [{**variable, "attributeValue": other}]}
            request = typed_json.convert(data, SetVariablesRequest)
        async with knocking(port, CS, password=PASSWORD, versions=("ocpp2.1",)) as station:
            await station.call("BootNotification", BOOT)
            station.answers |= {
                "SetVariables": {"setVariableResult": [{**variable, "attributeStatus": status}]},
                "SetNetworkProfile": {"status": status},
            }
            await raw_commands.send(csms.services, CS, request, 5.0)
        if place != "SecurityCtrlr" or not accepts:  # until it uses the other one
            for _ in range(2):
                async with knocking(port, CS, password=PASSWORD):
                    pass
        if accepts:
            async with knocking(port, CS, password=other):
                pass
        assert (await refused(port, CS, password=PASSWORD if accepts else other))[0] == 401


async def test_a_refused_station_is_put_out_and_stays_out(backend: Start) -> None:
    async with backend(ocpp=PLAIN) as csms, listening(csms) as (port,):
        admissions = csms.services[StationAdmissions]
        await admissions.set_password(CS, PASSWORD)
        async with knocking(port, CS, password=PASSWORD) as station:
            await station.call("BootNotification", BOOT)
            await admissions.decide(CS, "Refused", "anna")
            assert (await station.ended())[1] == "refused"
        assert (await refused(port, CS, password=PASSWORD))[0] == 401
        with pytest.raises(RefusedError):
            await admissions.decide("../up", "Accepted", "anna")


async def test_who_comes_in_and_boots_is_looked_up_once(backend: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[str] = []

    def find_all(connection: Connection, station_ids: Sequence[str]) -> list[Known | None]:
        looked_up.extend(station_ids)
        return found(connection, station_ids)

    found = rows.find_all
    async with backend(ocpp=PLAIN) as csms, listening(csms) as (port,):
        await csms.services[StationAdmissions].set_password(CS, PASSWORD)
        async with knocking(port, CS, password=PASSWORD):  # the first one of all is looked up twice
            pass
        monkeypatch.setattr(rows, "find_all", find_all)
        async with knocking(port, CS, password=PASSWORD) as station:
            assert (await station.call("BootNotification", BOOT))["status"] == "Accepted"
            assert looked_up == [CS]
            await station.call("BootNotification", BOOT)  # much may have been decided since
            assert looked_up == [CS, CS]


@pytest.mark.parametrize("decision", ["", "refused", "password", "pending"])
async def test_what_is_decided_between_connection_and_session_holds(backend: Start, decision: str) -> None:
    """Also where another connection of the same name has passed meanwhile."""
    async with backend(ocpp=PLAIN, unknown_stations="accept") as csms:
        admissions = csms.services[StationAdmissions]
        await admissions.set_password(CS, PASSWORD)
        welcome, transports = admissions.handshake_check(1, None), [asyncio.Transport() for _ in range(2)]
        shown = Handshake(
            path=f"/ocpp/{CS}", identity=CS, address="192.0.2.1", offered=("ocpp2.0.1",), version="2.0.1",
            credentials=Credentials(CS, Secret(PASSWORD)), transport=transports[0],
        )  # fmt: skip
        assert await welcome(shown) is None
        if decision == "refused":
            await admissions.decide(CS, "Refused", "anna")
        elif decision == "password":
            await admissions.set_password(CS, other := PASSWORD[::-1])
            assert await welcome(msgspec.structs.replace(shown, transport=transports[1])) is not None
            credentials = Credentials(CS, Secret(other))
            assert (
                await welcome(msgspec.structs.replace(shown, transport=transports[1], credentials=credentials)) is None
            )
        elif decision == "pending":
            await admissions.decide(CS, "Pending", "anna")
        let_in = await admissions.let_in(CS, 1, transports[0])
        assert (None if let_in is None else let_in.boot) == {"": "Accepted", "pending": "Pending"}.get(decision)
        if decision == "password":
            assert await admissions.let_in(CS, 1, transports[1]) is not None


async def test_a_connection_by_a_password_that_was_replaced_ends(backend: Start) -> None:
    """Not by one that the station has accepted itself, nor by the one that is set now."""
    async with backend(ocpp=PLAIN) as csms, listening(csms) as (port,):
        admissions = csms.services[StationAdmissions]
        await admissions.set_password(CS, PASSWORD)
        async with knocking(port, CS, password=PASSWORD) as station:
            await station.call("BootNotification", BOOT)
            variable = {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "BasicAuthPassword"}}
            accepted = {"attributeStatus": "Accepted", **variable}
            station.answers["SetVariables"] = {"setVariableResult": [accepted]}
            assert await admissions.rotate_password(CS) == "Accepted"
            await admissions.allow_profile(CS, 1)
            assert (await station.call("BootNotification", BOOT))["status"] == "Accepted"
            await admissions.set_passwords({CS: PASSWORD}, replace=True)
            await station.ended()
        async with knocking(port, CS, password=PASSWORD) as station:
            assert (await station.call("BootNotification", BOOT))["status"] == "Accepted"
            await csms.services.connections.decided(CS, credentials=True)
            assert (await station.call("BootNotification", BOOT))["status"] == "Accepted"


async def test_unknown_stations_may_be_let_in_to_wait(backend: Start) -> None:
    """Their passwords are asked of them all the same."""
    async with backend(ocpp=PLAIN, unknown_stations="pending") as csms, listening(csms) as (port,):
        assert (await refused(port, NEW, password=PASSWORD))[0] == 401
        (fault,) = await csms.faults(NEW)
        assert fault["hint"] == "set its password"
        await csms.services[StationAdmissions].set_password(NEW, PASSWORD)
        async with knocking(port, NEW, password=PASSWORD) as station:
            assert (await station.call("BootNotification", BOOT))["status"] == "Pending"
            await csms.services[StationAdmissions].decide(NEW, "Accepted", "anna")
            (await station.expect("TriggerMessage")).reply({"status": "Accepted"})
            assert (await station.call("BootNotification", BOOT))["status"] == "Accepted"


async def test_a_wrong_path_is_reported_with_the_right_one(backend: Start) -> None:
    async with backend(ocpp=PLAIN) as csms, listening(csms) as (port,):
        status, words = await refused(port, CS, password=PASSWORD, path="/steve/ocpp")
        assert (status, "ws://HOST:PORT/ocpp" in words) == (404, True)
        (fault,) = await csms.faults("")
        assert (fault["kind"], fault["address"]) == ("path", "127.0.0.1")


async def test_a_slash_after_the_identity_does_not_count(backend: Start) -> None:
    async with backend(ocpp=PLAIN) as csms, listening(csms) as (port,):
        await csms.services[StationAdmissions].set_password(CS, PASSWORD)
        async with knocking(port, f"{CS}/", username=CS, password=PASSWORD) as station:
            assert (await station.call("BootNotification", BOOT))["status"] == "Accepted"
        for path in (f"{CS}//", "", "/"):
            assert (await refused(port, path, username=CS, password=PASSWORD))[0] == 404


async def test_faults_are_counted_and_not_written_each_time(backend: Start) -> None:
    async with backend(ocpp=PLAIN) as csms, listening(csms) as (port,):
        for _ in range(5):
            await refused(port, CS)
        assert len(csms.events.named("connection_fault")) == 1
        (fault,) = await csms.faults(CS)
        assert (fault["kind"], fault["times"]) == ("password", 5)
        csms.clock.advance(11)
        await refused(port, CS)
        assert [each["times"] for each in await csms.faults(CS)] == [6]
        assert len(csms.events.named("connection_fault")) == 2
        await csms.services[StationAdmissions].set_password(CS, PASSWORD)
        async with knocking(port, CS, password=PASSWORD):
            assert await csms.faults(CS) == [], "it has come in"


async def test_what_was_wrong_before_a_restart_is_forgotten_when_the_station_comes_in(backend: Start) -> None:
    async with backend(ocpp=PLAIN) as csms, listening(csms) as (port,):
        for name in (CS, NEW):
            await csms.services[StationAdmissions].decide(name, "Refused", "anna")
            await csms.services[StationAdmissions].set_password(name, PASSWORD)
            await refused(port, name, password=PASSWORD)
    async with backend(ocpp=PLAIN) as csms, listening(csms) as (port,):
        admissions = csms.services[StationAdmissions]
        assert {each["station_id"] for each in await csms.faults()} == {CS, NEW}
        await admissions.decide(CS, "Accepted", "anna")
        async with knocking(port, CS, password=PASSWORD):
            assert [each["station_id"] for each in await csms.faults()] == [NEW]


async def test_who_speaks_tls_to_a_listener_without_and_the_other_way_round_is_reported(
    backend: Start, pki: PkiTree
) -> None:
    listeners = (FurtherListener(port=0, security_profile=2),)
    async with backend(ocpp={**PLAIN, "listeners": listeners}) as csms, listening(csms) as (plain, secure):
        context = ssl.create_default_context(cafile=str(pki.path("csms/root.pem")))
        with pytest.raises((OSError, websockets.WebSocketException)):
            async with knocking(plain, CS, context=context):
                pass
        with pytest.raises((OSError, EOFError, websockets.WebSocketException)):
            async with knocking(secure, CS):
                pass
        async with asyncio.timeout(5):
            while len(found := await csms.faults("")) < 2:
                await asyncio.sleep(0)
        assert {each["kind"] for each in found} == {"tls"}
        assert all("CSMS URL to ws" in each["hint"] for each in found)


async def test_a_station_that_does_not_trust_this_server_gets_a_hint_which_root_to_install(
    backend: Start, pki: PkiTree
) -> None:
    async with backend(ocpp={"security_profile": 2}) as csms, listening(csms) as (port,):
        stranger = ssl.create_default_context(cafile=str(pki.path("oem/root.pem")))

        def knock() -> None:
            with socket.create_connection(("127.0.0.1", port)) as raw:
                stranger.wrap_socket(raw, server_hostname="127.0.0.1")

        with pytest.raises(ssl.SSLError):
            await asyncio.to_thread(knock)
        async with asyncio.timeout(5):
            while not (found := await csms.faults("")):
                await asyncio.sleep(0)
        assert "CSMS root certificate" in found[0]["hint"]


async def test_the_organization_of_a_certificate_may_be_asked_for(backend: Start, pki: PkiTree) -> None:
    """A00.FR.404."""
    context = ssl.create_default_context(cafile=str(pki.path("csms/root.pem")))
    context.load_cert_chain(pki.path("csms/station/chain.pem"), pki.path("csms/station/leaf.key"))
    async with backend(ocpp={"organization": "Another Operator"}) as csms, listening(csms) as (port,):
        status, words = await refused(port, CS, context=context)
        assert (status, "organization" in words) == (403, True)
        await refused(port, "CS-V2G-0002", context=context)
        events = [each.data["type"] for each in csms.events.named("security_event")]
        assert events == ["InvalidChargingStationCertificate"] * 2  # A00.FR.408


async def test_strangers_make_room_for_strangers_and_for_nobody_else(
    backend: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "MAX_UNDECIDED", 2)
    async with backend() as csms:
        store, admissions = csms.services.store, csms.services[StationAdmissions]
        await admissions.set_password("KNOWN", PASSWORD)
        await admissions.allow_profile("CONFIGURED", 2)
        for number in range(5):
            visit = rows.ConnectionAttempt(station_id=f"S{number}", address="192.0.2.1", offered="", security_profile=3)
            await store.run(rows.note_attempt, visit, number)
        assert [each["station_id"] for each in await entries(csms, undecided=True)] == ["S4", "S3"]
        assert {each["station_id"] for each in await entries(csms, undecided=False)} == {"KNOWN", "CONFIGURED"}


async def test_who_was_accepted_without_a_decision_does_not_wait_until_it_is_refused(backend: Start) -> None:
    """As stations of the configuration, and those of `unknown_stations = "accept"`; a later attempt waits again."""
    async with backend() as csms:
        store = csms.services.store
        visit = rows.ConnectionAttempt(station_id=CS, address="192.0.2.1", offered="", security_profile=3)
        begin_ms = csms.clock.utc_ms()
        await store.run(rows.note_attempt, visit, begin_ms)
        assert (await store.read(stations_overview)).undecided == len(await entries(csms, undecided=True)) == 1
        await csms.booted(CS)
        assert (await store.read(stations_overview)).undecided == len(await entries(csms, undecided=True)) == 0
        await store.run(rows.note_attempt, visit, csms.clock.utc_ms() + 1)
        assert (await store.read(stations_overview)).undecided == len(await entries(csms, undecided=True)) == 1


WRONG = "another-password-of-a-good-length"


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What slow hashes were asked about."""
    asked: list[str] = []

    def fits(password: str, kept: str) -> bool:
        asked.append(password)
        return password_fits(password, kept)

    monkeypatch.setattr("csms.admission.work.password_fits", fits)
    return asked


async def test_strangers_are_answered_alike_whatever_is_wrong(backend: Start) -> None:
    async with backend(ocpp=PLAIN) as csms, listening(csms) as (port,):
        admissions = csms.services[StationAdmissions]
        await admissions.set_password(CS, PASSWORD)
        await admissions.decide("CS-REFUSED", "Refused", "anna")
        await admissions.decide("CS-WITHOUT", "Accepted", "anna")
        answers = {await refused(port, each, password=WRONG) for each in (CS, NEW, "CS-REFUSED", "CS-WITHOUT")}
        assert len(answers) == 1
        kinds = {each["station_id"]: each["kind"] for each in await csms.faults()}
        assert kinds == {CS: "password", NEW: "unknown_station", "CS-REFUSED": "refused", "CS-WITHOUT": "password"}
        for _ in range(4):
            await refused(port, CS, password=WRONG)
            await refused(port, NEW, password=WRONG)
        assert await refused(port, CS, password=WRONG) == await refused(port, NEW, password=WRONG)


async def test_a_verified_station_costs_no_slow_hash_also_after_a_restart(backend: Start, hashes: list[str]) -> None:
    async with backend(ocpp=PLAIN) as csms, listening(csms) as (port,):
        await csms.services[StationAdmissions].set_password(CS, PASSWORD)
        async with knocking(port, CS, password=PASSWORD):
            pass
        assert len(hashes) == 1
    async with backend(ocpp=PLAIN) as csms, listening(csms) as (port,):
        async with knocking(port, CS, password=PASSWORD):
            pass
        assert (await refused(port, CS, password=WRONG))[0] == 401
        assert len(hashes) == 1, "what does not fit the mark is wrong"
        await csms.services[StationAdmissions].set_password(CS, WRONG)
        assert (await refused(port, CS, password=PASSWORD))[0] == 401
        async with knocking(port, CS, password=WRONG):
            pass
        assert hashes[1:] == [PASSWORD, WRONG]


async def test_guesses_are_turned_away_before_they_are_hashed_and_counted_in_one_row(
    backend: Start, hashes: list[str]
) -> None:
    async with backend(ocpp=PLAIN) as csms, listening(csms) as (port,):
        admissions = csms.services[StationAdmissions]
        await admissions.set_password(CS, PASSWORD)
        await admissions.set_password("CS-V2G-0002", PASSWORD)
        answers = [await refused(port, CS, password=f"guess-number-{number:08d}") for number in range(30)]
        assert [status for status, _ in answers] == [401] * 5 + [429] * 25
        assert len(hashes) == 5
        async with knocking(port, "CS-V2G-0002", password=PASSWORD):  # others from there come in
            pass
        await admissions.flush()
        (event,) = await csms.services.store.read(list_events, station_id=CS)
        assert (event["type"], event["times"]) == ("FailedToAuthenticateAtCsms", 30)
        assert event["last_ms"] is not None


async def test_first_seen_stations_wait_in_turn_and_all_come_in(backend: Start) -> None:
    names = [f"CS-{number}" for number in range(40)]
    async with backend(ocpp=PLAIN, unknown_stations="accept") as csms, listening(csms) as (port,):
        for name in names:
            await csms.services[StationAdmissions].set_password(name, PASSWORD)

        async def come(name: str) -> None:
            async with knocking(port, name, password=PASSWORD):
                pass

        guesses = [asyncio.create_task(refused(port, names[0], password=f"guess-number-{n:08d}")) for n in range(60)]
        async with asyncio.timeout(60):
            await asyncio.gather(*map(come, names[1:]))
            assert {status for status, _ in await asyncio.gather(*guesses)} == {401, 429}


async def test_a_station_that_is_taken_unknown_keeps_the_password_that_it_came_with(backend: Start) -> None:
    async with backend(ocpp=PLAIN, unknown_stations="accept") as csms, listening(csms) as (port,):
        assert (await refused(port, NEW, password="short"))[0] == 401
        for _ in range(2):
            async with knocking(port, NEW, password=PASSWORD) as station:
                assert (await station.call("BootNotification", BOOT))["status"] == "Accepted"
        assert (await refused(port, NEW, password=WRONG))[0] == 401
        assert (await refused(port, CS, password=PASSWORD))[0] == 401, "one that is configured has to have one"


async def test_of_several_first_passwords_at_once_the_first_one_stays(backend: Start) -> None:
    """Whoever comes at the same moment as a new station may not take its place, nor the operator's password."""
    async with backend(ocpp=PLAIN, unknown_stations="accept") as csms, listening(csms) as (port,):
        came = []

        async def come(password: str) -> None:
            with contextlib.suppress(websockets.InvalidStatus):
                async with knocking(port, NEW, password=password):
                    came.append(password)

        await asyncio.gather(*(come(f"a-Password_of-somebody-{number}") for number in range(8)))
        assert len(came) == 1
        async with knocking(port, NEW, password=came[0]):
            pass


async def test_an_onboarding_password_is_the_only_one_at_first(backend: Start) -> None:
    config = {"ocpp": PLAIN, "unknown_stations": "accept", "onboarding_password": PASSWORD}
    async with backend(**config) as csms, listening(csms) as (port,):
        assert (await refused(port, NEW, password=WRONG))[0] == 401
        for name in (NEW, "CS-NEWER"):
            async with knocking(port, name, password=PASSWORD) as station:
                assert (await station.call("BootNotification", BOOT))["status"] == "Accepted"
        await csms.services[StationAdmissions].set_password(NEW, WRONG)
        assert (await refused(port, NEW, password=PASSWORD))[0] == 401


@pytest.mark.parametrize(
    ("text", "key", "now"),
    [
        ("[[ocpp.doors]]\nport = 1\nsecurity_profile = 1\n", r"ocpp\.doors", "listeners"),
        ('log_level = "INFO"\n', "log_level", "log.level"),
        ("accept_unknown = true\n", "accept_unknown", "unknown_stations"),
    ],
)
def test_a_former_key_is_refused_with_its_new_name(text: str, key: str, now: str) -> None:
    with pytest.raises(ConfigError, match=rf"c\.toml:1: unknown key '{key}'") as caught:
        parse_config(text, CsmsConfig, name="c.toml")
    assert caught.value.hint == f"renamed to {now!r}"
