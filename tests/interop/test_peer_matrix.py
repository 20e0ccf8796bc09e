"""Every energy service that the other implementation knows, in both control modes, paid for by contract or by other
means, over TLS and without it, in both roles: what our side saw, and what the other one wrote down.

`make interop` runs all of it, `make test` the sessions in QUICK.
"""

import itertools
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from pki_tools.tree import PkiTree
from tests.interop.cable import Cable
from tests.interop.peer import EMAID, LOOPS, Peer
from tests.interop.programs import PEER_CHARGER_SIDE, charger, ended, named, peer_papers, ready, says, tail, vehicle

pytestmark = [pytest.mark.one_worker("cable"), pytest.mark.interop]

CONTROLLER = str(Path(__file__).with_name("peer_vehicle.py"))
SERVICE_IDS = {"AC": 1, "DC": 2, "AC_BPT": 5, "DC_BPT": 6}


class Run(NamedTuple):
    """One session. `means` is PnC or EIM; without TLS there is no Plug & Charge."""

    service: str
    mode: str
    means: str
    with_tls: bool

    @property
    def offered(self) -> list[str]:
        """What the charger would take: without TLS there must be no Plug & Charge all the same."""
        return [self.means] if self.with_tls else ["PnC", "EIM"]

    @property
    def current(self) -> str:
        return self.service[:2]

    def __str__(self) -> str:
        return "-".join((self.service, self.mode, self.means, "tls" if self.with_tls else "tcp"))


RUNS = [
    Run(service, mode, means, with_tls)
    for service, mode, (means, with_tls) in itertools.product(
        SERVICE_IDS, ("scheduled", "dynamic"), (("PnC", True), ("EIM", True), ("EIM", False))
    )
]
QUICK = {"at_our_charger": set(), "at_its_charger": {Run("AC_BPT", "scheduled", "PnC", with_tls=True)}}
"""With DC_BPT of test_peer_session.py each current, mode and role once: virtual machines are slow to start."""


def runs(place: str) -> list[object]:
    return [pytest.param(each, id=str(each), marks=() if each in QUICK[place] else pytest.mark.long) for each in RUNS]


@pytest.mark.parametrize("run", runs("at_our_charger"))
def test_its_vehicle_charges_at_our_charger(peer: Peer, pki: PkiTree, cable: Cable, tmp_path: Path, run: Run) -> None:
    settings = PEER_CHARGER_SIDE.replace("[site]", "[site]\nfree = true").replace(
        "[charger]", f"[charger]\nservices = [{SERVICE_IDS[run.service]}]\nauthorization = {run.offered}"
    )
    if not run.with_tls:
        settings += "\n[sdp]\nwithout_tls = true\n"
    papers = peer_papers(peer, pki, "secc")
    secc = charger(tmp_path, cable, papers, settings, current=run.current.lower())
    evcc = peer.vehicle(
        cable, tmp_path / "vehicle.log", CONTROLLER, run.mode, service=run.service, with_tls=run.with_tls
    )
    events = ready(secc)
    try:
        evcc.start()
        code = ended(evcc)
    finally:
        evcc.stop()
        secc.stop()
    events += secc.events.read()
    assert (code, secc.exit_code) == (0, 0), tail(evcc) + tail(secc)
    (accepted,) = named(events, "tls", "accepted")
    assert accepted["version"] == ("TLSv1.3" if run.with_tls else "none")
    (authorized,) = named(events, "authorization", "authorized")
    assert authorized["method"] == run.means
    assert authorized.get("emaid") == (EMAID if run.means == "PnC" else None)
    (selected,) = named(events, "service", "selected")
    assert (selected["service"], selected["control_mode"]) == (run.service, run.mode.capitalize())
    loops = named(events, "loop", "response")
    assert len(loops) == LOOPS
    assert max(event["power_w"] for event in loops) > 0
    assert named(events, "session", "session_ended")[0]["reason"] == "vehicle"
    assert not named(events, "power", "emergency_off")
    log = evcc.log.read_text()
    assert re.search(r'Decoded message .*"SessionStopRes":{.*"ResponseCode":"OK"', log), tail(evcc)


@pytest.mark.parametrize("run", runs("at_its_charger"))
@pytest.mark.long
def test_our_vehicle_charges_at_its_charger(peer: Peer, pki: PkiTree, cable: Cable, tmp_path: Path, run: Run) -> None:
    settings = f"""[discharge]
require_signed = false

[authorization]
allow_eim = {str(run.means == "EIM").lower()}

[sdp]
without_tls = {str(not run.with_tls).lower()}

[timers]
message_scale = 4
evcc_welding_detection = 1

[services]
energy = ["{run.service}"]
control_mode = ["{run.mode}"]

[[program]]
do = "charge"
for_s = 1
"""
    if run.service.endswith("BPT"):
        settings += '\n[[program]]\ndo = "discharge"\nfor_s = 1\n'
    evcc = vehicle(tmp_path, cable, peer_papers(peer, pki, "vehicle"), settings)
    modes = "EIM" if run.means == "EIM" and run.with_tls else "PNC,EIM"
    secc = peer.charger(cable, tmp_path / "charger.log", current=run.current, modes=modes, with_tls=run.with_tls)
    secc.start()
    try:
        says(secc, "UDP server started")
        evcc.start()
        code = ended(evcc)
    finally:
        evcc.stop()
        secc.stop()
    assert code == 0, tail(evcc) + tail(secc)
    events = [*evcc.events.read()]
    assert bool(named(events, "tls", "connected")) is run.with_tls
    assert [event["service"] for event in named(events, "authorization", "selected")] == [run.means]
    (selected,) = named(events, "service", "selected")
    assert (selected["service"], selected["control_mode"]) == (run.service, run.mode.capitalize())
    for stage, name in (("schedule", "agreed"), ("power", "started"), ("power", "stopped")):
        assert len(named(events, stage, name)) == 1, (stage, name)
    wishes = ["charge", "discharge"] if run.service.endswith("BPT") else ["charge"]
    assert [event["do"] for event in named(events, "power", "wish")] == wishes
    assert named(events, "loop", "flow")
    assert named(events, "session", "ended")[0]["reason"] == "finished"
    log = secc.log.read_text()
    assert re.search(r'Message to encode .*"SessionStopRes": {.*"ResponseCode": "OK"', log), tail(secc)
