"""Fuzz targets of sessions of ISO 15118-2 and DIN 70121, in both roles: messages of a peer, in any state.

The first octet chooses the edition, the kind of energy transfer and the state that a session by the book has reached.
The rest are payloads of the peer, each after two octets with its length; the highest bit says that it comes without a
V2GTP header. Whatever comes, nothing is raised, power is only where a session allows it, and silence ends everything.
"""

import atexit
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from evcc.session.ports import SAFE
from pki_tools.tree import PkiTree, make_pki
from secc.session import ports
from secc.session.stages import Charging
from tests.evcc.session.d2.charger import AC, DC, Bench2
from tests.evcc.session.din import charger as din_charger
from tests.evcc.session.message_bench import MessageBench as Vehicle
from tests.secc.session.d2.bench import AC_WAYS, DC_WAYS, Iso2Bench
from tests.secc.session.din import bench as din_bench
from tests.secc.session.message_bench import MessageBench as Charger
from v2g import exi
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.v2gtp import PayloadType, frame

UTC_MS: Final = 1_790_000_000_000
MOST: Final = 12
"""Payloads of one input at most."""
SILENCE_S: Final = 400.0
"""Longer than every timer of a session."""
RAW: Final = 0x8000

Seeds = Callable[[], list[bytes]]


def payloads(data: bytes) -> Iterator[bytes]:
    """Return what the peer sends, in frames unless it is raw."""
    at = 0
    for _ in range(MOST):
        if at + 2 > len(data):
            return
        length = int.from_bytes(data[at : at + 2])
        content = data[at + 2 : at + 2 + length % RAW]
        at += 2 + length % RAW
        yield content if length & RAW else frame(PayloadType.SAP, content)


def input_of(first: int, messages: Sequence[bytes]) -> bytes:
    """Return an input with these payloads."""
    return bytes((first,)) + b"".join(len(each).to_bytes(2) + each for each in messages)


# -- the charger ------------------------------------------------------------------------------------------------------


@cache
def tree() -> PkiTree:
    """Return a tree for chargers, which these sessions do not look at."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return make_pki(folder / "pki", now=datetime.fromtimestamp(UTC_MS / 1000, UTC))


def _charger(edition: str, first: int) -> Charger:
    if edition == "din":
        return din_bench.DinBench(tree(), UTC_MS)
    return Iso2Bench(tree(), UTC_MS, alternating=bool(first & 1))


def _chart(edition: str, first: int) -> list[tuple[str, ...]]:
    ways = din_bench.WAYS if edition == "din" else AC_WAYS if first & 1 else DC_WAYS
    return [*ways.values()]


def _reached(edition: str, first: int) -> Charger:
    bench, ways = _charger(edition, first), _chart(edition, first)
    bench.go(*ways[first // 2 % len(ways)])
    return bench


def charger(edition: str, data: bytes) -> None:
    """See the module: messages of a vehicle."""
    if not data:
        return
    bench = _reached(edition, data[0])
    answered, sent = len(bench.responses), [*payloads(data[1:])]
    for each in sent:
        if not bench.reason:
            bench.raw(each)
        _judge(bench)
        bench.pass_time(0.05)
    frames = data.count(b"\x01\xfe\x80")  # in raw octets
    assert len(bench.responses) <= answered + len(sent) + frames
    bench.pass_time(SILENCE_S)
    _judge(bench)
    assert bench.reason
    assert not bench.session.powered
    if bench.session.state is not State.PAUSED:
        assert len(bench.commands(ports.CloseJournal)) == ("SessionStarted" in bench.records())
        assert len(bench.commands(ports.TransactionEnded)) == len(bench.commands(ports.TransactionStarted))


def _judge(bench: Charger) -> None:
    outputs = bench.commands(ports.SetOutput) + bench.commands(ports.SetAcOutput)
    for each in outputs:
        assert 0 <= each.charge_w <= 40_000
        assert each.discharge_w == 0
    for each in bench.commands(ports.SetOutput):
        assert 0 <= each.current_ma <= bench.config.rating.max_charge_current_a * 1000
        assert 0 <= each.voltage_mv <= bench.config.rating.max_voltage_v * 1000
    if bench.session.powered and outputs and outputs[-1].charge_w:
        assert isinstance(bench.session.stage, Charging)


def charger_seeds(edition: str) -> list[bytes]:
    """Return conversations by the book, each from another state on."""
    found = []
    for first in range(2 * len(_chart(edition, 0))):
        ways = _chart(edition, first)
        done, whole = ways[first // 2 % len(ways)], ways[-1]
        bench = _reached(edition, first)
        sent = _noted(bench)
        bench.go(*whole[len(done) :] if whole[: len(done)] == done else ("stop",))
        found.append(input_of(first, sent))
    return found


def _noted(bench: Charger) -> list[bytes]:
    """Return the list of the messages that the vehicle sends from now on."""
    sent: list[bytes] = []
    known = bench.post

    def post(request: Any, session_id: bytes | None = None) -> None:
        sent.append(_encoded(bench, request))
        known(request, session_id)

    bench.post = post  # type: ignore[method-assign]
    return sent


def _encoded(bench: Charger, request: Any) -> bytes:
    if type(request).__name__.startswith("SupportedApp"):
        return exi.encode(request)
    session_id = bench.session.session_id if bench.headers else b"\0"
    return exi.encode(bench.wrapped(session_id, request))


# -- the vehicle ------------------------------------------------------------------------------------------------------


def _vehicle(edition: str, first: int) -> Vehicle:
    return din_charger.DinBench(scale=20) if edition == "din" else Bench2(AC if first & 1 else DC, scale=20)


def vehicle(edition: str, data: bytes) -> None:
    """See the module: messages of a charger."""
    if not data:
        return
    bench = _vehicle(edition, data[0])
    stages = _stages(edition, data[0] & 1)
    bench.run_to(stages[data[0] // 2 % len(stages)])
    asked = len(bench.requests)
    for count, each in enumerate(payloads(data[1:]), 1):
        if bench.closed:
            break
        bench.drive()
        bench.receive(each)
        if not bench.closed:
            bench.pass_time(0.3)
        assert len(bench.requests) <= asked + 2 * count + data.count(b"\x01\xfe\x80")
    bench.pass_time(SILENCE_S)
    assert bench.closed
    assert not bench.contactor_closed
    for safe in SAFE:
        assert next((each for each in reversed(bench.commands) if type(each) is type(safe)), safe) == safe


@cache
def _stages(edition: str, first: int) -> list[str]:
    bench = _vehicle(edition, first)
    bench.run()
    return list(dict.fromkeys(type(each).__name__ for each in bench.requests))


def vehicle_seeds(edition: str) -> list[bytes]:
    """Return conversations by the book, each from another state on."""
    found = []
    for kind in range(2):
        stages = _stages(edition, kind)
        for number, stage in enumerate(stages):
            bench = _vehicle(edition, kind)
            bench.run_to(stage)
            sent: list[bytes] = []
            for _ in range(MOST):
                if bench.closed:
                    break
                if bench.unanswered:
                    response = bench.answered()
                    handshake = type(response).__name__.startswith("SupportedApp")
                    sent.append(exi.encode(response if handshake else bench.charger.message(response)))
                    bench.drive()
                    bench.battery()
                    bench.reply(response)
                if not bench.closed:
                    bench.pass_time(0.3)
            found.append(input_of(kind + 2 * number, sent))
    return found


def _targets() -> dict[str, tuple[Callable[[bytes], None], Seeds]]:
    found: dict[str, tuple[Callable[[bytes], None], Seeds]] = {}
    for edition in ("2", "din"):
        found[f"charger_{edition}"] = (
            lambda data, edition=edition: charger(edition, data),  # type: ignore[misc]
            lambda edition=edition: charger_seeds(edition),  # type: ignore[misc]
        )
        found[f"vehicle_{edition}"] = (
            lambda data, edition=edition: vehicle(edition, data),  # type: ignore[misc]
            lambda edition=edition: vehicle_seeds(edition),  # type: ignore[misc]
        )
    return found


TARGETS: Final = _targets()
"""Name: function and where its corpus begins."""
