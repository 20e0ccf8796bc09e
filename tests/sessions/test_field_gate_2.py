"""Recordings of ISO 15118-2 are replayed at both roles: no session ends that went on when it was recorded.

They are this project's own, see `tests/vectors/iso15118/README.md`, and so prove less than those of real devices.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pki_tools.tree import PkiTree
from tests.evcc.session.d2.charger import AC, Bench2
from tests.secc.session.d2.bench import Iso2Bench
from v2g import exi
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.engine.sequence import is_failed
from v2g.iso15118.engine.v2g_message import body_of, decode_message
from v2g.iso15118.engine.v2gtp import PayloadType, frame

pytestmark = pytest.mark.requirement("R197")

FILES = sorted((Path(__file__).parents[1] / "vectors" / "iso15118").glob("iso2_*.jsonl"))
EVERY = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def messages(file: Path) -> list[tuple[float, str, Any, bytes]]:
    """Return time in s, sender, message and octets."""
    found = []
    for number, line in enumerate(file.read_text().splitlines()):
        each = json.loads(line)
        payload = bytes.fromhex(each["exi_hex"])
        message, _ = decode_message(payload, ISO2, handshake=number < 2)
        found.append((each["t"], each["sender"], message, payload))
    return found


@EVERY
def test_a_recorded_charger_keeps_our_vehicle(file: Path) -> None:
    bench = Bench2(AC)
    recorded = messages(file)
    left = [each for each in recorded if each[1] == "charger"]
    bench.start()
    taken = []
    for _ in range(10 * len(recorded)):
        if bench.closed or not left:
            break
        if not bench.unanswered:
            bench.wait()
            continue
        wanted = type(bench.unanswered.pop(0)).__name__.removesuffix("Req") + "Res"
        while left and type(body_of(left[0][2])).__name__ != wanted:
            left.pop(0)
        if left:
            bench.pass_time(0.05)
            bench.drive()
            bench.battery()
            taken.append(wanted)
            bench.receive(frame(PayloadType.SAP, left.pop(0)[3]))
    assert not bench.seen("session", "failed")
    loops = [message for _, _, message, _ in recorded if type(body_of(message)).__name__ == "ChargingStatusRes"]
    assert taken.count("ChargingStatusRes") == len(loops) > 10, "our vehicle asked until the recording was over"
    assert (bench.closed, bench.seen("stop", "stopping"), bench.seen("session", "failed")) == ("", [], [])


@EVERY
def test_a_recorded_vehicle_is_served_by_our_charger(pki: PkiTree, file: Path) -> None:
    bench = Iso2Bench(pki, 1_700_000_000_000, alternating=True)
    asked = [message for _, sender, message, _ in messages(file) if sender == "vehicle"]
    for message in asked:
        sent = message
        if hasattr(message, "header"):
            own = bench.session.session_id if bench.headers else message.header.session_id
            sent = replace(message, header=replace(message.header, session_id=own))
        count = len(bench.responses)
        bench.pass_time(0.05)
        bench.raw(frame(PayloadType.SAP, exi.encode(sent)))
        if len(bench.responses) == count:
            bench.pass_time(0.5)
        assert len(bench.responses) == count + 1, (type(body_of(message)).__name__, bench.reason)
        assert not is_failed(bench.responses[-1]), (type(body_of(message)).__name__, bench.responses[-1], bench.reason)
    assert len(bench.responses) == len(asked)
    assert bench.reason in ("", "finished")
