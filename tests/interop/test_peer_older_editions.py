"""Sessions of DIN 70121 and ISO 15118-2 with the independent implementation, in both roles, over a cable.

Each message of ours is, octet by octet, what an independent EXI processor makes of its content.
`make interop` runs all of them, `make test` those in QUICK.
"""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from pki_tools.tree import PkiTree
from tests.exi.conftest import peer_codec, schema_folder
from tests.exi.peer import PeerCodec
from tests.interop.cable import Cable
from tests.interop.peer import EMAID, LOOPS, Peer
from tests.interop.programs import charger, ended, named, peer_papers, ready, says, tail, vehicle
from v2g import typed_json
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.engine.schemas import APP_PROTOCOL
from v2g.iso15118.select import EditionName
from v2g.iso15118.trace import Line

__all__ = ["peer_codec", "schema_folder"]

pytestmark = [pytest.mark.one_worker("cable"), pytest.mark.interop]

CONTROLLER = str(Path(__file__).with_name("peer_charger.py"))


class Run(NamedTuple):
    """One session; `means` is PnC, which needs TLS, or EIM."""

    edition: EditionName
    current: str
    means: str
    with_tls: bool

    @property
    def version(self) -> str:
        return "TLSv1.2" if self.with_tls else "none"

    def __str__(self) -> str:
        return "-".join((self.edition, self.current, self.means, "tls" if self.with_tls else "tcp"))


RUNS = [
    Run("din", "DC", "EIM", with_tls=False),
    Run("2", "DC", "EIM", with_tls=False),
    Run("2", "AC", "EIM", with_tls=False),
    Run("2", "AC", "PnC", with_tls=True),
    Run("2", "DC", "PnC", with_tls=True),
    Run("2", "DC", "EIM", with_tls=True),
]
QUICK = {"at_our_charger": Run("2", "AC", "PnC", with_tls=True)}
"""One, as virtual machines are slow to start; and not its vehicle with direct current, which waits for no answer longer
than 0.25 s."""


def runs(place: str) -> list[object]:
    return [
        pytest.param(each, id=str(each), marks=() if each == QUICK.get(place) else pytest.mark.long) for each in RUNS
    ]


TRACE = """
[log]
trace = "trace.jsonl"
"""


def assert_written_alike(folder: Path, codec: PeerCodec, run: Run) -> None:
    """Compare every message of our program with what the independent processor reads in it, and writes again."""
    lines = [typed_json.decode(line, Line) for line in (folder / "trace.jsonl").read_bytes().splitlines()]
    sent = [each for each in lines if each.way == "out"]
    assert len(sent) > LOOPS
    for each in sent:
        grammar = DIN if run.edition == "din" else ISO2
        schema = APP_PROTOCOL if each.name.startswith("SupportedAppProtocol") else grammar
        read = codec.decode(schema, bytes.fromhex(each.exi), fragment=False)
        assert codec.encode(schema, read, fragment=False).hex() == each.exi.lower(), each.name


@pytest.mark.parametrize("run", runs("at_our_charger"))
def test_its_vehicle_charges_at_our_charger(
    peer: Peer, peer_codec: PeerCodec, pki: PkiTree, cable: Cable, tmp_path: Path, run: Run
) -> None:
    settings = f"""[site]
contracts = ["{EMAID}"]
free = true

[charger]
editions = ["{run.edition}"]
services = [{1 if run.current == "AC" else 2}]
authorization = ["{run.means}"]

[charger.{"din" if run.edition == "din" else "iso2"}.timing]
secc_loop_silence = 4.5

[sdp]
without_tls = {str(not run.with_tls).lower()}
{TRACE}"""
    secc = charger(tmp_path, cable, peer_papers(peer, pki, "secc"), settings, current=run.current.lower())
    evcc = peer.vehicle(
        cable, tmp_path / "vehicle.log", service=run.current, edition=run.edition, with_tls=run.with_tls
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
    log = evcc.log.read_text()
    assert re.search(r'Decoded message .*"SessionStopRes":{.*"ResponseCode":"OK"', log), tail(evcc) + tail(secc)
    (accepted,) = named(events, "tls", "accepted")
    assert accepted["version"] == run.version
    (authorized,) = named(events, "authorization", "authorized")
    assert authorized["method"] == run.means
    assert authorized.get("emaid") == (EMAID if run.means == "PnC" else None)
    loops = named(events, "loop", "response")
    assert LOOPS - 2 <= len(loops) <= LOOPS  # its battery is full before
    assert max(event["power_w"] for event in loops) > 0
    assert named(events, "session", "session_ended")[0]["reason"] == "vehicle"
    assert not named(events, "power", "emergency_off")
    assert_written_alike(tmp_path, peer_codec, run)


@pytest.mark.parametrize("run", runs("at_its_charger"))
def test_our_vehicle_charges_at_its_charger(
    peer: Peer, peer_codec: PeerCodec, pki: PkiTree, cable: Cable, tmp_path: Path, run: Run
) -> None:
    settings = f"""[authorization]
allow_eim = {str(run.means == "EIM").lower()}

[sdp]
without_tls = {str(not run.with_tls).lower()}

[{"timers_din" if run.edition == "din" else "timers_2"}]
message_scale = 4

[services]
energy = ["{run.current}"]

[[program]]
do = "charge"
for_s = 1
{TRACE}"""
    evcc = vehicle(tmp_path, cable, peer_papers(peer, pki, "vehicle"), settings, edition=run.edition)
    secc = peer.charger(
        cable,
        tmp_path / "charger.log",
        CONTROLLER,
        current=run.current,
        edition=run.edition,
        modes="EIM" if run.means == "EIM" else "PNC,EIM",
        with_tls=run.with_tls,
    )
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
    assert [each["version"] for each in named(events, "tls", "connected")] == ([run.version] if run.with_tls else [])
    for stage, name in (("schedule", "agreed"), ("power", "started"), ("power", "stopped")):
        assert len(named(events, stage, name)) == 1, (stage, name)
    assert named(events, "loop", "flow")
    assert named(events, "session", "ended")[0]["reason"] == "finished"
    log = secc.log.read_text()
    assert re.search(r'Message to encode .*"SessionStopRes": {.*"ResponseCode": "OK"', log), tail(secc)
    assert_written_alike(tmp_path, peer_codec, run)
