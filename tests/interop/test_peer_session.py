"""Whole Plug & Charge sessions with an implementation that is not ours, in both roles, over a cable.

Its charger and its vehicle run as its maker ships them, except where a test says otherwise. It signs with P-256 and
SHA-256, so our side runs with `security_profile: interop`, and the last tests show that nothing less will do. All
services and means are in test_peer_matrix.py.
"""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pki_tools.tree import PkiTree
from tests.interop.cable import Cable
from tests.interop.peer import EMAID, LOOPS, Peer
from tests.interop.programs import (
    PEER_CHARGER_SIDE,
    RUN_S,
    charger,
    ended,
    named,
    own_papers,
    peer_papers,
    ready,
    says,
    tail,
    vehicle,
)
from v2g.energy.settlement.bundle import verify_bundle
from v2g.energy.settlement.report import Report
from v2g.errors import TlsError
from v2g.io.storage.journal_file import read_files
from v2g.pki.credentials import load_chain
from v2g_cli.demo.processes import Event, wait_for

pytestmark = [pytest.mark.one_worker("cable"), pytest.mark.interop]

CONTROLLER = str(Path(__file__).with_name("peer_vehicle.py"))

VEHICLE_SIDE = """[discharge]
require_signed = false

[timers]
message_scale = 4
evcc_welding_detection = 1

[services]
control_mode = ["{mode}"]

[[program]]
do = "charge"
for_s = 1

[[program]]
do = "discharge"
for_s = 1
"""
"""Of our vehicle when the peer is the charger: it is slow, and has no value-added service."""


def charge(peer: Peer, pki: PkiTree, cable: Cable, folder: Path, *program: str) -> tuple[list[Event], Report]:
    """Let the peer's vehicle run one session at our charger; return the charger's events and its settlement."""
    secc = charger(folder, cable, peer_papers(peer, pki, "secc"), PEER_CHARGER_SIDE)
    evcc = peer.vehicle(cable, folder / "vehicle.log", *program)
    events = ready(secc)
    try:
        evcc.start()
        code = ended(evcc)
    finally:
        evcc.stop()
        secc.stop()
    events += secc.events.read()
    assert (code, secc.exit_code) == (0, 0), tail(evcc) + tail(secc)
    log = evcc.log.read_text()
    assert re.search(r'Decoded message .*"SessionStopRes":{.*"ResponseCode":"OK"', log), tail(evcc)
    assert "Reason: Communication session terminated" in log
    return events, settled(peer, pki, folder)


def settled(peer: Peer, pki: PkiTree, folder: Path) -> Report:
    """Return what the one settlement bundle proves to somebody who has the roots."""
    (bundle,) = (folder / "secc" / "settlements").iterdir()
    roots = (peer.root("v2g"), peer.root("mo"), pki.path("v2g/root.pem"))
    return verify_bundle(read_files(bundle), anchors=[load_chain(root)[0] for root in roots], now=datetime.now(UTC))


def assert_whole(events: list[Event], mode: str) -> None:
    """Check what every session at our charger has to show."""
    (authorized,) = named(events, "authorization", "authorized")
    assert (authorized["method"], authorized["emaid"]) == ("PnC", EMAID)
    (selected,) = named(events, "service", "selected")
    assert (selected["service"], selected["control_mode"]) == ("DC_BPT", mode)
    assert named(events, "schedule", "planned")
    assert named(events, "power", "started")
    assert len(named(events, "loop", "response")) == LOOPS
    assert named(events, "stop", "power_stopped")
    assert not named(events, "power", "emergency_off")
    (ending,) = named(events, "session", "session_ended")
    assert ending["reason"] == "vehicle"


def powers(events: list[Event]) -> list[int]:
    return [event["power_w"] for event in named(events, "loop", "response")]


def energy_mwh(report: Report) -> tuple[int, int]:
    begin, end = report.settlement.begin, report.settlement.end
    return end.import_mwh - begin.import_mwh, end.export_mwh - begin.export_mwh


@pytest.mark.long
def test_its_vehicle_charges_by_schedule_at_our_charger(peer: Peer, pki: PkiTree, cable: Cable, tmp_path: Path) -> None:
    events, report = charge(peer, pki, cable, tmp_path)
    assert_whole(events, "Scheduled")
    assert max(powers(events)) == 40_000  # it asks for 200 A at 200 V
    assert report.interop
    assert report.contract == EMAID
    assert report.settlement.reason == "vehicle"
    imported, exported = energy_mwh(report)
    assert imported > 0
    assert exported == 0


@pytest.mark.long
def test_its_vehicle_gives_energy_back_at_our_charger(peer: Peer, pki: PkiTree, cable: Cable, tmp_path: Path) -> None:
    events, report = charge(peer, pki, cable, tmp_path, CONTROLLER, "scheduled")
    assert_whole(events, "Scheduled")
    assert (max(powers(events)), min(powers(events))) == (8_000, -4_400)  # it bears no more than 11 A outwards
    directions = [event["direction"] for event in named(events, "power", "direction")]
    assert directions == ["charging", "discharging", "idle"]
    assert min(energy_mwh(report)) > 0


@pytest.mark.long
def test_its_vehicle_lets_our_charger_decide_in_dynamic_mode(
    peer: Peer, pki: PkiTree, cable: Cable, tmp_path: Path
) -> None:
    events, report = charge(peer, pki, cable, tmp_path, CONTROLLER, "dynamic")
    assert_whole(events, "Dynamic")
    assert max(powers(events)) == 4_000  # what it says in the loop that it takes
    assert energy_mwh(report)[0] > 0


@pytest.mark.long
@pytest.mark.parametrize("mode", ["dynamic", "scheduled"])
def test_our_vehicle_completes_a_session_at_its_charger(
    peer: Peer, pki: PkiTree, cable: Cable, tmp_path: Path, mode: str
) -> None:
    evcc = vehicle(tmp_path, cable, peer_papers(peer, pki, "vehicle"), VEHICLE_SIDE.format(mode=mode))
    secc = peer.charger(cable, tmp_path / "charger.log")
    secc.start()
    try:
        says(secc, "UDP server started")
        evcc.start()
        assert ended(evcc) == 0, tail(evcc) + tail(secc)
    finally:
        evcc.stop()
        secc.stop()
    events = [*evcc.events.read()]
    (connected,) = named(events, "tls", "connected")
    assert (connected["version"], connected["group"]) == ("TLSv1.3", "secp256r1")
    assert [(event["service"], event["algorithm"]) for event in named(events, "authorization", "selected")] == [
        ("PnC", "ecdsa-sha256")
    ]
    assert named(events, "authorization", "granted")
    (selected,) = named(events, "service", "selected")
    assert (selected["service"], selected["control_mode"]) == ("DC_BPT", mode.capitalize())
    for stage, name in (("schedule", "agreed"), ("power", "cable_checked"), ("power", "started"), ("power", "stopped")):
        assert len(named(events, stage, name)) == 1, (stage, name)
    assert [event["do"] for event in named(events, "power", "wish")] == ["charge", "discharge"]
    assert len(named(events, "loop", "flow")) > 2
    assert named(events, "session", "ended")[0]["reason"] == "finished"
    log = secc.log.read_text()
    assert re.search(r'Message to encode .*"SessionStopRes": {.*"ResponseCode": "OK"', log), tail(secc)
    assert "Reason: Communication session terminated" in log


def test_without_the_interop_profile_our_charger_refuses_its_vehicle_by_name(
    peer: Peer, pki: PkiTree, cable: Cable, tmp_path: Path
) -> None:
    secc = charger(tmp_path, cable, own_papers(pki, "secc"), PEER_CHARGER_SIDE)
    evcc = peer.vehicle(cable, tmp_path / "vehicle.log")
    events = ready(secc)
    try:
        evcc.start()
        refused = wait_for(secc, "tls", "refused", events, seconds=RUN_S)
    finally:
        evcc.stop()
        secc.stop()
    assert refused.data["reason"] == "no_common_group"
    assert not named(events, "tls", "accepted")


@pytest.mark.long
def test_without_the_interop_profile_our_vehicle_has_no_session_and_says_why(
    peer: Peer, pki: PkiTree, cable: Cable, tmp_path: Path
) -> None:
    evcc = vehicle(tmp_path, cable, own_papers(pki, "vehicle"), VEHICLE_SIDE.format(mode="dynamic"))
    secc = peer.charger(cable, tmp_path / "charger.log")
    secc.start()
    try:
        says(secc, "UDP server started")
        evcc.start()
        assert ended(evcc) == TlsError.exit_code
    finally:
        evcc.stop()
        secc.stop()
    (refused,) = named([*evcc.events.read()], "tls", "refused")
    assert refused["reason"] == "closed"  # it drops the connection without an alert
    assert "see security_profile" in tail(evcc)


def test_its_certificates_are_not_for_the_standard_profile(
    peer: Peer, pki: PkiTree, cable: Cable, tmp_path: Path
) -> None:
    secc = charger(tmp_path, cable, peer_papers(peer, pki, "secc", "iso15118-20"), PEER_CHARGER_SIDE)
    secc.start()
    try:
        assert ended(secc) == TlsError.exit_code
    finally:
        secc.stop()
    assert "secp256r1, which iso15118-20 does not allow" in tail(secc)
