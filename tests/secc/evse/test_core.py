"""What an EVSE does with vehicles, pauses, faults and requests of the back end, and each of their races."""

from typing import Any, Final

import pytest
from msgspec.structs import replace

from secc.evse.core import Pause
from secc.evse.ports import (
    AbortSession,
    BeginBasic,
    ClosePaused,
    EvseFault,
    ForgetPaused,
    JoinPaused,
    LinkDown,
    LinkUp,
    MatchingStarted,
    MoveLink,
    PausedFound,
    PausedStored,
    ServiceBegun,
    SetDuty,
    ShowStatus,
    ShutDown,
    StorePaused,
    SupplyChanged,
    TellSession,
    VehicleConnected,
)
from secc.session import ports
from secc.session.config import BasicChargingConfig, EnergyService
from tests.secc.evse.bench import (
    ID,
    NOTHING,
    SETTINGS,
    EvseBench,
    allow,
    basic,
    kept,
    kinds,
    late,
    out_of_service,
    paused,
    plugged,
    returned,
    saving,
    served,
    starving,
    unwanted,
)
from tests.together import together
from v2g.iec61851.pilot import PilotState, PilotTiming
from v2g.observe import Observe
from v2g_station.blocks.availability import Serve
from v2g_station.blocks.evse import Restart
from v2g_station.blocks.transactions.managed import RemoteStopRequested

ENERGY: Final = SupplyChanged(charge=True, discharge=True)
CLOSED: Final = TellSession(ports.PausedSessionChanged(None))


def told(actions: list[Any]) -> list[Any]:
    """Return the facts for the session."""
    return [each.fact for each in actions if isinstance(each, TellSession)]


# -- sessions, and the data link --------------------------------------------------------------------------------------


def test_one_vehicle_at_a_time_is_served() -> None:
    bench = plugged()
    assert bench.core.refusal == ""
    assert bench.connect() == [ShowStatus()]
    assert bench.core.refusal == "occupied"
    assert bench.fact(VehicleConnected()) == []
    bench.end("finished")
    assert bench.core.refusal == ""


def test_out_of_service_only_a_paused_vehicle_may_connect() -> None:
    bench = out_of_service()
    assert bench.core.refusal == "out_of_service"
    bench = kept()
    bench.fact(Serve(evse_id=1, operative=False))
    assert bench.core.refusal == ""
    bench.fact(RemoteStopRequested(reference=ID.hex(), cause="remote"))
    assert bench.core.refusal == "out_of_service"
    assert bench.held


ENDS: Final = (
    ("finished", None, ["terminate"]),
    ("paused", None, ["pause"]),
    ("sequence_timeout", None, ["restart"]),
    ("sequence_timeout", lambda bench: bench.pilot("A"), ["terminate"]),
    ("paused", lambda bench: bench.pilot("A"), ["terminate"]),
    ("paused", lambda bench: bench.fault("diode_shorted"), ["terminate"]),
    ("paused", lambda bench: bench.fault("emergency_stop"), ["terminate", "hold"]),
    ("sequence_timeout", lambda bench: bench.fact(Serve(evse_id=1, operative=False)), ["terminate", "hold"]),
)


@together(("reason", "before", "moves"), ENDS)
def test_the_link_is_prepared_for_what_comes_next(reason: str, before: Any, moves: list[str]) -> None:
    bench = served(replace(SETTINGS, basic=None))
    if before is not None:
        before(bench)
    actions = [each for each in bench.end(reason) if isinstance(each, MoveLink)]
    assert kinds(actions) == moves
    assert [each.reason for each in actions if each.to == "restart"] == [reason] * ("restart" in moves)


@pytest.mark.parametrize(
    ("basic", "seconds", "then"), [(None, 18, "restart"), (BasicChargingConfig(), 10, "hand_over")]
)
def test_a_vehicle_may_connect_again_while_no_session_has_begun(
    basic: BasicChargingConfig | None, seconds: float, then: str
) -> None:
    """By the same link, within the time that it had for the first connection."""
    bench = served(replace(SETTINGS, basic=basic))
    assert bench.end("connection_lost", begun=False) == [ShowStatus()]
    assert bench.core.refusal == ""
    assert bench.wait(seconds - 0.1) == []
    assert kinds(bench.wait(0.1))[0] == then


@pytest.mark.parametrize(
    ("reason", "begun", "moves"),
    [
        ("connection_lost", True, ["restart"]),
        ("communication_setup_timeout", False, ["restart"]),
        ("connection_lost", False, []),
    ],
)
def test_a_session_that_fails_costs_the_link(reason: str, begun: bool, moves: list[str]) -> None:
    bench = served(replace(SETTINGS, basic=None))
    assert kinds(bench.end(reason, begun=begun)) == ["ShowStatus", *moves]
    bench = served(replace(SETTINGS, basic=None))
    bench.fault("diode_shorted")
    assert kinds(bench.end(reason, begun=begun)) == ["ShowStatus", "terminate"]


def test_the_link_is_prepared_also_where_basic_charging_is_forbidden() -> None:
    bench = served()
    bench.fault("emergency_stop")
    assert kinds(bench.end("broke_down")) == ["ShowStatus", "terminate", "hold"]
    bench = served()
    bench.present = replace(bench.present, seated=False)
    assert kinds(bench.end("broke_down")) == ["ShowStatus", "restart"]


def test_without_a_link_nothing_is_moved() -> None:
    bench = served(replace(SETTINGS, basic=None), link=False)
    assert bench.end("sequence_timeout") == [ShowStatus()]
    bench = EvseBench(link=False)
    bench.pilot("A")
    bench.pilot("B", seated=False)
    bench.connect()
    bench.present = replace(bench.present, seated=True)
    assert bench.end("finished") == [ShowStatus()]


def test_a_link_that_goes_down_ends_the_session_in_the_same_step() -> None:
    for bench in (served(), basic()):
        assert bench.fact(LinkDown("port_lost")) == [AbortSession("port_lost")]


def test_a_pilot_is_the_business_of_the_session_that_runs() -> None:
    assert TellSession(ports.PilotChanged(PilotState.C)) in served().pilot("C")
    assert EvseBench().pilot("B") == [ShowStatus()]


@together(
    ("faults", "pilot", "status"),
    [
        (("emergency_stop",), "B", "Faulted"),
        (("modem_lost",), "A", "Available"),
        ((), "A", "Available"),
        ((), None, "Available"),
        ((), "B", "Occupied"),
        ((), "D", "Occupied"),
        ((), "E", None),
        ((), "F", None),
    ],
)
def test_the_status_is_that_of_the_connector(faults: tuple[str, ...], pilot: str | None, status: str | None) -> None:
    bench = EvseBench()
    present = replace(bench.present, faults=faults, pilot=None if pilot is None else PilotState(pilot))
    assert bench.core.status(present) == status


def test_at_a_connection_device_who_is_served_occupies_it() -> None:
    for plug, status in ((True, "Available"), (False, "Occupied")):
        bench = EvseBench(replace(SETTINGS, plug=plug))
        assert bench.core.status(replace(bench.present, pilot=None)) == "Available"
        bench.connect()
        assert bench.core.status(replace(bench.present, pilot=None)) == status


def test_f_is_shown_while_nobody_can_be_served_and_only_then() -> None:
    bench = plugged()
    assert bench.fault("emergency_stop") == [ShowStatus(), MoveLink("hold")]
    assert bench.fault("over_voltage") == [ShowStatus()]
    assert bench.fault("emergency_stop", active=False) == [ShowStatus(), MoveLink("release")]
    assert bench.fault("diode_shorted") == [ShowStatus()], "its end is seen at the pilot"
    assert bench.fact(Serve(evse_id=1, operative=False)) == [MoveLink("hold")]
    assert bench.fact(Serve(evse_id=1, operative=True)) == [MoveLink("release")]
    bench = served()
    assert bench.fact(Serve(evse_id=1, operative=False)) == []
    bench = EvseBench(started=False)
    assert bench.fact(Serve(evse_id=1, operative=False)) == []
    assert bench.fact(ServiceBegun(link=True)) == [MoveLink("hold")]


def test_a_charge_point_that_was_taken_out_of_service_in_a_basic_session_shows_f_after_it() -> None:
    bench = basic()
    assert bench.fact(Serve(evse_id=1, operative=False)) == []
    bench.pilot("A")
    assert bench.end("unplugged") == [ShowStatus(), MoveLink("hold")]


def test_faults_are_recorded() -> None:
    bench = EvseBench()
    bench.fact(EvseFault("modem_lost", active=True))
    (began,) = bench.events
    assert (began.stage, began.name) == ("hardware", "fault_began")
    assert began.data == {"fault": "modem_lost", "component": "ISO15118Ctrlr", "stops": False}
    bench.fact(EvseFault("modem_lost", active=False))
    assert [each.name for each in bench.events] == ["fault_ended"]


def test_without_matching_and_basic_charging_the_duty_cycle_asks_for_messages() -> None:
    bench = EvseBench(replace(SETTINGS, basic=None), started=False)
    assert bench.fact(ServiceBegun(link=False)) == [SetDuty(5.0)]
    for link, config in ((True, None), (True, BasicChargingConfig()), (False, BasicChargingConfig())):
        bench = EvseBench(replace(SETTINGS, basic=config), started=False)
        assert bench.fact(ServiceBegun(link=link)) == []


# -- basic charging ---------------------------------------------------------------------------------------------------


def test_a_vehicle_that_does_not_match_is_charged_without_messages() -> None:
    for facts, way in (((), "f"), ((MatchingStarted(),), "x1")):
        bench = plugged()
        bench.fact(*facts)
        assert bench.fact(LinkDown("vehicle_silent")) == [MoveLink("hand_over"), ShowStatus(), BeginBasic(way)]
        (event,) = bench.events
        assert (event.stage, event.name) == ("basic", "fallback")
        assert event.data == {"reason": "vehicle_silent", "way": way}
    bench = plugged()
    bench.fact(MatchingStarted())
    bench.pilot("A")
    bench.pilot("B")
    assert bench.fact(LinkDown("vehicle_silent"))[-1] == BeginBasic("f"), "another vehicle"
    assert plugged().fact(LinkDown("unplugged")) == []
    assert plugged(replace(SETTINGS, basic=None)).fact(LinkDown("vehicle_silent")) == []


def test_a_matched_vehicle_that_stays_silent_is_charged_without_messages() -> None:
    bench = plugged()
    bench.fact(LinkUp())
    assert bench.wait(9.9) == []
    assert bench.wait(0.1) == [MoveLink("hand_over"), ShowStatus(), BeginBasic("x1")]
    assert bench.events[0].data["reason"] == "no_conversation"
    bench = plugged()
    bench.fact(LinkUp())
    bench.present = replace(bench.present, seated=False)
    assert bench.wait(10) == [], "what is true when the time is over counts"


def test_without_basic_charging_it_starts_over_after_each_communication_setup() -> None:
    """V2G2-714, -716: also a paused vehicle that was woken, whose session is kept."""
    for bench in (plugged(replace(SETTINGS, basic=None)), kept(replace(SETTINGS, basic=None))):
        before = bench.core.pause
        for _ in range(2):
            bench.fact(LinkUp())
            assert bench.wait(17.9) == []
            assert bench.wait(0.1) == [MoveLink("restart", "communication_setup_timeout")]
            data = {"timer": "V2G_SECC_CommunicationSetup_Timeout", "state": "supported_app_protocol"}
            assert bench.events == [Observe("session", "timeout", data)]
        assert bench.core.pause is before
        assert bench.core.refusal == ""
    bench = plugged(replace(SETTINGS, basic=None, setup_s=5))
    bench.fact(LinkUp())
    assert kinds(bench.wait(5)) == ["restart"]


@pytest.mark.parametrize("basic", [BasicChargingConfig(), None])
@pytest.mark.parametrize(
    "meanwhile",
    [
        lambda bench: bench.pilot("A") and bench.pilot("B"),
        lambda bench: bench.fact(LinkDown("link_lost")),
        lambda bench: bench.fact(Serve(evse_id=1, operative=False), Serve(evse_id=1, operative=True)),
        lambda bench: bench.connect() and bench.end("finished"),
        lambda bench: bench.fact(ShutDown()),
    ],
)
def test_the_silence_of_a_vehicle_ends_with_what_it_does(meanwhile: Any, basic: BasicChargingConfig | None) -> None:
    bench = plugged(replace(SETTINGS, basic=basic))
    bench.fact(LinkUp())
    meanwhile(bench)
    assert bench.core.deadline() is None


def test_a_link_that_is_reported_after_the_connection_starts_no_silence() -> None:
    bench = served()
    bench.fact(LinkUp())
    assert bench.core.deadline() is None


def test_after_failed_sessions_the_vehicle_is_charged_without_messages() -> None:
    bench = plugged(replace(SETTINGS, basic=BasicChargingConfig(conversations=2)))
    bench.connect()
    assert kinds(bench.end("sequence_timeout")) == ["ShowStatus", "restart"]
    bench.connect()
    assert kinds(bench.end("finished")) == ["ShowStatus", "terminate"]
    bench.connect()
    assert kinds(bench.end("broke_down")) == ["ShowStatus", "hand_over", "ShowStatus", "BeginBasic"]
    assert bench.actions[-1] == BeginBasic("x1")


@pytest.mark.parametrize("reason", ["finished", "paused", "unplugged", "shut_down", "cancelled"])
def test_an_orderly_end_is_no_failure(reason: str) -> None:
    assert "BeginBasic" not in kinds(served().end(reason))


def test_another_vehicle_starts_counting_anew() -> None:
    bench = plugged(replace(SETTINGS, basic=BasicChargingConfig(conversations=2)))
    bench.connect()
    bench.end("broke_down")
    bench.pilot("A")
    bench.pilot("B")
    bench.connect()
    assert kinds(bench.end("broke_down")) == ["ShowStatus", "restart"]


def test_a_vehicle_that_has_left_has_not_failed() -> None:
    bench = served(replace(SETTINGS, basic=BasicChargingConfig(conversations=2)))
    bench.pilot("A")
    assert kinds(bench.end("broke_down")) == ["ShowStatus", "terminate"]
    bench.pilot("B")
    bench.connect()
    assert kinds(bench.end("broke_down")) == ["ShowStatus", "restart"], "the first failure of the next one"


def test_without_a_link_whoever_is_plugged_in_is_charged_at_once() -> None:
    bench = EvseBench(link=False)
    assert bench.pilot("B") == [ShowStatus(), ShowStatus(), BeginBasic("at_once")]
    assert bench.events[0].data == {"reason": "no_data_link", "way": "at_once"}
    bench = EvseBench(started=False)
    bench.pilot("C")
    assert not bench.running
    assert bench.fact(ServiceBegun(link=False))[-1] == BeginBasic("at_once")


@pytest.mark.parametrize("forbids", ["fault", "service", "plug"])
def test_nobody_is_charged_without_messages_where_something_forbids_it(forbids: str) -> None:
    bench = EvseBench(link=False)
    match forbids:
        case "fault":
            bench.fault("emergency_stop")
            bench.pilot("B")
            assert not bench.running
            bench.fault("emergency_stop", active=False)
        case "service":
            bench.fact(Serve(evse_id=1, operative=False))
            bench.pilot("B")
            assert not bench.running
            bench.fact(Serve(evse_id=1, operative=True))
        case "plug":
            bench.pilot("B", seated=False)
            assert not bench.running
            bench.pilot("B")
    assert bench.running == "basic"


def test_a_new_transaction_never_begins_out_of_service_although_a_vehicle_has_paused() -> None:
    """That one may resume its own."""
    bench = kept()
    bench.fact(Serve(evse_id=1, operative=False))
    assert bench.fact(LinkDown("not_resumed")) == []
    assert bench.core.pause is Pause.KEPT


def test_the_next_vehicle_that_came_while_the_journal_was_closed_is_charged() -> None:
    bench = EvseBench(link=False)
    bench.pilot("B")
    bench.pilot("A")
    bench.pilot("B")
    assert bench.end("unplugged")[-1] == BeginBasic("at_once")


def test_the_vehicle_whose_basic_session_has_ended_is_not_charged_again() -> None:
    bench = EvseBench(link=False)
    bench.pilot("A")
    bench.pilot("B")
    assert bench.end("remote") == [ShowStatus()]


def test_who_has_paused_cannot_be_recognised_without_messages() -> None:
    bench = kept()
    actions = bench.fact(LinkDown("not_resumed"))
    assert ClosePaused(ID, "not_resumed", "Other") in actions
    assert bench.running == "basic"


# -- pauses -----------------------------------------------------------------------------------------------------------


def test_a_session_that_pauses_is_kept_once_it_is_stored_and_resumed_once() -> None:
    bench = served()
    assert bench.save() == [StorePaused(paused())]
    assert (bench.core.pause, bench.core.kept) == (Pause.SAVING, None)
    assert bench.stored() == []
    assert bench.core.kept == paused()
    assert kinds(bench.end("paused")) == ["ShowStatus", "pause"]
    bench.connect()
    assert bench.fact(ports.JoinSession(ID.hex())) == [JoinPaused(ID)]
    assert bench.core.paused is None
    assert bench.fact(ports.JoinSession(ID.hex())) == []
    assert bench.fact(RemoteStopRequested(reference=ID.hex(), cause="remote")) == [
        TellSession(ports.StopRequested("remote"))
    ]


@pytest.mark.parametrize(("reason", "stopped"), [("remote", "Remote"), ("energy_limit", "EnergyLimitReached")])
def test_the_back_end_stops_a_paused_session(reason: str, stopped: str) -> None:
    bench = kept()
    assert bench.fact(RemoteStopRequested(reference="another", cause=reason)) == []
    assert EvseBench().fact(RemoteStopRequested(reference=ID.hex(), cause=reason)) == []
    assert served().fact(RemoteStopRequested(reference="another", cause=reason)) == []
    assert bench.fact(RemoteStopRequested(reference=ID.hex(), cause=reason)) == [
        ForgetPaused(),
        ClosePaused(ID, reason, stopped),
    ]
    bench = returned()
    actions = bench.fact(RemoteStopRequested(reference=ID.hex(), cause=reason))
    assert actions == [ForgetPaused(), CLOSED, ClosePaused(ID, reason, stopped)], "who comes back is told"
    assert bench.fact(ports.JoinSession(ID.hex())) == []


def test_a_transaction_is_over_with_its_session() -> None:
    bench = served()
    bench.end("finished")
    bench.connect()
    assert bench.fact(RemoteStopRequested(reference=ID.hex(), cause="remote")) == []


def test_an_unknown_reason_of_the_back_end_is_remote() -> None:
    assert kept().fact(RemoteStopRequested(reference=ID.hex(), cause="whim"))[-1] == ClosePaused(ID, "whim", "Remote")


def test_a_stop_while_the_pause_is_on_its_way_to_the_disk_is_not_lost() -> None:
    bench = saving()
    stop = TellSession(ports.StopRequested("deauthorized"))
    assert bench.fact(RemoteStopRequested(reference=ID.hex(), cause="deauthorized")) == [stop, ForgetPaused()]
    assert bench.core.pause is Pause.UNWANTED
    bench.fact(RemoteStopRequested(reference=ID.hex(), cause="remote"))
    assert bench.stored() == [ForgetPaused(), CLOSED, ClosePaused(ID, "deauthorized", "DeAuthorized")]
    assert bench.core.pause is Pause.NONE


def test_a_stop_before_the_pause_is_executed_is_not_lost() -> None:
    """The session has already decided to pause; its command waits for the disk."""
    bench = served()
    bench.fact(RemoteStopRequested(reference=ID.hex(), cause="deauthorized"))
    assert bench.save() == [StorePaused(paused()), ForgetPaused()]
    assert bench.stored()[-1] == ClosePaused(ID, "deauthorized", "DeAuthorized")
    bench.end("paused")
    bench.connect()
    bench.transaction(2)
    bench.save(2)
    bench.stored()
    assert bench.core.kept == paused(2), "the next one is not stopped"


def test_a_stop_after_the_session_has_ended_still_reaches_a_pause_on_its_way_to_the_disk() -> None:
    bench = late()
    assert bench.fact(RemoteStopRequested(reference=ID.hex(), cause="remote")) == [ForgetPaused()]
    assert bench.stored() == [ForgetPaused(), ClosePaused(ID, "remote", "Remote")]


def test_of_a_kept_session_whose_runner_still_ends_only_the_pause_is_stopped() -> None:
    bench = saving()
    bench.stored()
    assert told(bench.fact(RemoteStopRequested(reference=ID.hex(), cause="remote"))) == [
        ports.PausedSessionChanged(None)
    ]


def test_a_stop_of_the_running_transaction_leaves_another_ones_pause() -> None:
    bench = returned()
    bench.transaction(2)
    assert bench.fact(RemoteStopRequested(reference=(2).to_bytes(8).hex(), cause="remote")) == [
        TellSession(ports.StopRequested("remote"))
    ]
    assert bench.core.kept == paused()


def test_a_session_that_cannot_be_stored_ends() -> None:
    """Its runner has let go of journal and transaction: nobody else would close them."""
    bench = saving()
    assert bench.stored("disk full") == [ForgetPaused(), CLOSED, ClosePaused(ID, "command_failed", "Other")]
    assert [each.data for each in bench.events] == [{"error": "disk full"}]
    assert (bench.events[0].stage, bench.events[0].name) == ("session", "not_kept")
    bench = unwanted()
    assert bench.stored("disk full")[-1] == ClosePaused(ID, "deauthorized", "DeAuthorized")
    assert bench.core.pause is Pause.NONE


def test_a_pause_that_is_stored_so_late_that_another_vehicle_is_there_ends() -> None:
    bench = late()
    assert bench.connect() == [ShowStatus(), ForgetPaused()]
    assert bench.stored() == [ForgetPaused(), CLOSED, ClosePaused(ID, "not_resumed", "Other")]


def test_a_pause_stored_late_is_kept_for_its_vehicle() -> None:
    bench = late()
    bench.stored()
    assert bench.core.kept == paused()


def test_a_second_pause_ends_the_first_and_keeps_its_own_file() -> None:
    bench = returned()
    bench.transaction(2)
    assert bench.save(2) == [
        ForgetPaused(),
        CLOSED,
        ClosePaused(ID, "not_resumed", "Other", delete=False),
        StorePaused(paused(2)),
    ]
    bench.fact(PausedStored(ID))
    assert bench.core.pause is Pause.SAVING
    bench.stored()
    assert bench.core.kept == paused(2)


def test_a_second_pause_leaves_the_reason_why_the_first_was_stopped() -> None:
    bench = late()
    bench.fact(RemoteStopRequested(reference=ID.hex(), cause="deauthorized"))
    bench.connect()
    bench.transaction(2)
    assert ClosePaused(ID, "deauthorized", "DeAuthorized", delete=False) in bench.save(2)


def test_another_vehicle_ends_the_pause_of_the_one_before() -> None:
    bench = returned()
    actions = bench.fact(ports.ForgetSession(ID.hex(), "not_resumed", "Other"))
    assert actions == [ForgetPaused(), CLOSED, ClosePaused(ID, "not_resumed", "Other")]
    assert bench.fact(ports.ForgetSession(ID.hex(), "not_resumed", "Other")) == []


def test_a_vehicle_that_is_unplugged_in_the_pause_ends_it() -> None:
    end = ClosePaused(ID, "unplugged", "EVDisconnected")
    assert kept().pilot("A") == [ForgetPaused(), end, ShowStatus()]
    bench = saving()
    bench.stored()
    assert end not in bench.pilot("A"), "the session that runs sees to it"
    assert end in bench.end("paused")
    bench = late()
    bench.pilot("A")
    assert end in bench.stored()
    assert kept().pilot("F") == [ShowStatus()]


def test_a_vehicle_that_left_while_the_charger_was_down_is_not_waited_for() -> None:
    bench = EvseBench(started=False)
    assert bench.fact(PausedFound(paused())) == []
    assert [(each.stage, each.name, each.data) for each in bench.events] == [
        ("session", "kept", {"session_id": ID.hex()})
    ]
    bench.fact(ServiceBegun(link=True))
    assert bench.wait(4.9) == []
    assert bench.wait(0.1) == [ForgetPaused(), ClosePaused(ID, "unplugged", "EVDisconnected")]
    bench = EvseBench(started=False)
    bench.fact(PausedFound(paused()), ServiceBegun(link=True))
    bench.pilot("B")
    assert bench.wait(5) == []
    assert bench.core.kept == paused()
    bench = EvseBench(started=False)
    bench.fact(PausedFound(paused()), Serve(evse_id=1, operative=False), ServiceBegun(link=True))
    assert bench.wait(5)[-1] == MoveLink("hold")
    bench = EvseBench(started=False)
    bench.fact(PausedFound(paused()), ServiceBegun(link=True), RemoteStopRequested(reference=ID.hex(), cause="remote"))
    assert bench.core.deadline() is None


def test_timers_that_are_due_at_once_expire_in_their_order_and_only_if_they_still_run() -> None:
    bench = starving()
    bench.wait(50)
    bench.fact(Restart(evse_id=None, at_once=True, keep=False))
    assert bench.core.deadline() == bench.now + 10
    bench.core.tick(bench.now + 100, bench.present)
    assert bench.core.actions() == [TellSession(ports.PauseRequested()), AbortSession("reset")]
    fast = BasicChargingConfig(timing=PilotTiming(conversation_s=2.0))
    bench = EvseBench(replace(SETTINGS, basic=fast), started=False)
    bench.pilot("B")
    bench.fact(PausedFound(paused()), ServiceBegun(link=True), LinkUp())
    bench.core.tick(bench.now + 100, bench.present)
    assert bench.core.actions()[-1] == BeginBasic("x1")
    assert bench.core.deadline() is None


def test_without_wires_nobody_is_seen_to_leave() -> None:
    bench = kept()
    bench.connect()
    bench.present = replace(bench.present, pilot=None)
    bench.end("paused")
    assert bench.core.kept == paused()


def test_a_paused_vehicle_may_use_what_the_back_end_allows_when_it_resumes() -> None:
    allowed = replace(paused(), allowed=frozenset({1}))
    fact = allow()
    assert kept().fact(fact) == [StorePaused(allowed)]
    bench = returned()
    assert bench.fact(fact) == [TellSession(ports.PausedSessionChanged(allowed)), StorePaused(allowed)]
    assert bench.stored("disk full") == []
    assert [each.name for each in bench.events] == ["not_kept"]
    assert bench.core.kept == allowed
    assert served().fact(fact) == [TellSession(ports.EnergyTransferAllowed(frozenset({1})))]
    assert returned().fact(allow("another")) == []
    assert unwanted().fact(allow("another")) == []


def test_what_is_allowed_while_the_pause_is_on_its_way_to_the_disk_is_not_lost() -> None:
    allowed = replace(paused(), allowed=frozenset({1}))
    bench = saving()
    assert bench.fact(allow()) == [StorePaused(allowed)]
    bench.stored()
    bench.stored()
    assert bench.core.kept == allowed
    assert StorePaused(allowed) not in unwanted().fact(allow())


# -- vehicles without energy ------------------------------------------------------------------------------------------


def test_a_vehicle_that_waits_too_long_for_energy_is_asked_to_pause() -> None:
    bench = starving()
    assert bench.wait(30) == []
    bench.fact(NOTHING)  # once more: it has waited all the time
    assert bench.wait(29.9) == []
    assert bench.wait(0.1) == [TellSession(ports.PauseRequested())]
    assert bench.wait(1000) == []


@pytest.mark.parametrize(("again_in_s", "wait_s"), [(None, 60), (599.9, 60), (600, 0), (3600, 0)])
def test_a_pause_is_requested_at_once_where_nothing_comes_for_long(again_in_s: float | None, wait_s: float) -> None:
    bench = served()
    bench.fact(replace(NOTHING, again_in_s=again_in_s))
    assert bench.core.deadline() == bench.now + wait_s
    bench = starving()
    bench.wait(10)
    bench.fact(replace(NOTHING, again_in_s=again_in_s))
    assert bench.core.deadline() == bench.now + (50 if wait_s else 0)


def test_a_site_may_ask_only_for_what_is_foreseen_or_never() -> None:
    bench = served(replace(SETTINGS, pause_after_s=None))
    bench.fact(replace(NOTHING, again_in_s=599))
    assert bench.core.deadline() is None
    bench.fact(replace(NOTHING, again_in_s=600))
    assert bench.wait(0) == [TellSession(ports.PauseRequested())]
    bench = served(replace(SETTINGS, pause_for_s=None))
    bench.fact(replace(NOTHING, again_in_s=10_000))
    assert bench.core.deadline() == bench.now + 60


def test_patience_is_simulated_time() -> None:
    bench = served(replace(SETTINGS, time_scale=10.0))
    bench.fact(NOTHING)
    assert bench.core.deadline() == bench.now + 6


def test_energy_in_time_ends_the_wait() -> None:
    bench = starving()
    assert bench.fact(ENERGY) == []
    assert bench.core.deadline() is None


@pytest.mark.parametrize(
    ("supply", "waits"),
    [
        (SupplyChanged(charge=False, discharge=True, bidirectional=False), True),
        (SupplyChanged(charge=False, discharge=True, bidirectional=True), False),
        (SupplyChanged(charge=False, discharge=True), False),
        (SupplyChanged(charge=True, discharge=False, bidirectional=False), False),
        (SupplyChanged(charge=False, discharge=False), True),
    ],
)
def test_energy_counts_in_the_directions_that_the_vehicle_uses(supply: SupplyChanged, *, waits: bool) -> None:
    bench = served()
    bench.fact(supply)
    assert (bench.core.deadline() is not None) is waits


def test_the_next_vehicle_waits_anew() -> None:
    bench = starving()
    bench.wait(50)
    bench.end("paused")
    assert bench.core.deadline() is None
    bench.fact(NOTHING)
    assert bench.core.deadline() is None, "nobody waits"
    bench.connect()
    bench.fact(NOTHING)
    assert bench.core.deadline() == bench.now + 60


@pytest.mark.parametrize(("service", "woken"), [(EnergyService.DC, False), (EnergyService.DC_BPT, True)])
def test_a_paused_vehicle_is_woken_by_energy_that_it_can_use(service: EnergyService, *, woken: bool) -> None:
    bench = plugged()
    bench.pause(1, service)
    assert bench.fact(NOTHING) == []
    back = SupplyChanged(charge=False, discharge=True)
    assert bench.fact(back) == ([MoveLink("wake_up")] if woken else [])
    assert bench.fact(ENERGY) == [MoveLink("wake_up")]


def test_energy_that_comes_back_while_the_vehicle_pauses_wakes_it_up_when_it_has() -> None:
    bench = starving()
    bench.wait(60)
    bench.save()
    assert bench.fact(ENERGY) == []
    bench.stored()
    assert kinds(bench.end("paused")) == ["ShowStatus", "pause", "wake_up"]
    bench.connect()
    bench.fact(ports.JoinSession(ID.hex()))
    bench.save()
    bench.stored()
    assert kinds(bench.end("paused")) == ["ShowStatus", "pause"], "this time it wanted to"
    bench = starving()
    bench.wait(60)
    bench.save()
    bench.stored()
    assert kinds(bench.end("paused")) == ["ShowStatus", "pause"], "there is still none"


# -- restart, and the program's end -----------------------------------------------------------------------------------


def test_a_reset_at_once_ends_sessions_and_cuts_off_who_goes_on() -> None:
    bench = served()
    assert bench.fact(Restart(evse_id=None, at_once=True, keep=False)) == [TellSession(ports.StopRequested("reset"))]
    assert bench.wait(14.9) == []
    assert bench.wait(0.1) == [AbortSession("reset")]
    bench.end("reset")
    assert bench.core.refusal == "out_of_service"
    bench = kept()
    assert bench.fact(Restart(evse_id=None, at_once=True, keep=False)) == [
        ForgetPaused(),
        ClosePaused(ID, "reset", "ImmediateReset"),
    ]
    assert bench.wait(15) == []


def test_a_repeated_reset_postpones_nothing() -> None:
    bench = served()
    for _ in range(2):
        bench.fact(Restart(evse_id=None, at_once=True, keep=True))
        bench.wait(7)
    bench.fact(Restart(evse_id=None, at_once=True, keep=True))
    assert bench.wait(1) == [AbortSession("reset")]


def test_a_reset_that_keeps_transactions_leaves_the_pause() -> None:
    bench = kept()
    assert bench.fact(Restart(evse_id=None, at_once=True, keep=True)) == []
    assert bench.core.kept == paused()
    assert bench.core.refusal == "out_of_service", "it would be cut off again"
    bench = served()
    assert bench.fact(Restart(evse_id=None, at_once=True, keep=True)) == [TellSession(ports.StopRequested("reset"))]
    bench.save()
    bench.stored()
    assert bench.core.kept == paused(), "nothing has to end that pauses by itself"


def test_a_pause_during_a_reset_at_once_ends() -> None:
    bench = served()
    bench.fact(Restart(evse_id=None, at_once=True, keep=False))
    bench.save()
    assert bench.stored()[-1] == ClosePaused(ID, "reset", "ImmediateReset")


def test_a_reset_that_waits_changes_nothing() -> None:
    for bench in (served(), kept()):
        before = bench.core.refusal
        assert bench.fact(Restart(evse_id=None, at_once=False, keep=False)) == []
        assert (bench.core.deadline(), bench.core.refusal) == (None, before)


def test_the_programs_end_aborts_what_runs_and_nothing_begins_after_it() -> None:
    bench = starving()
    assert bench.fact(ShutDown()) == [AbortSession("shut_down")]
    assert bench.core.deadline() is None
    bench.end("broke_down")
    assert not bench.running
    assert bench.core.refusal == "out_of_service"
    assert kept().fact(ShutDown()) == []
