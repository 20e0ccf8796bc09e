"""EXI: the cost of decoding and encoding a message, and of the first one in a program.

The messages are from recorded DC sessions in the test vectors, so both codecs process the same octets.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from benchmarks.figures import Figure, digits, median, microseconds
from benchmarks.peers import exi_peer
from benchmarks.peers.peers import JOSEV, codec_python, environment
from v2g.exi import decode, encode
from v2g.iso15118.select import NAMESPACES

ABOUT = "decode and encode of typical ISO 15118-20 messages, and the cost of the first use"

VECTORS = Path(__file__).resolve().parents[1] / "tests" / "vectors" / "exi"

TYPICAL = (
    "SessionSetupReq",
    "AuthorizationReq",
    "ServiceDetailRes",
    "ScheduleExchangeRes",
    "DC_ChargeParameterDiscoveryReq",
    "PowerDeliveryReq",
    "DC_ChargeLoopReq",
    "DC_ChargeLoopRes",
)
"""Short, long and the most frequent messages of a session."""

START_UP = """
import sys, time
from v2g.exi import decode, encode
from v2g.iso15118.select import NAMESPACES
for line in sys.stdin:
    uri, octets = line.split()
    encode(decode(bytes.fromhex(octets), NAMESPACES[uri]))
print(time.process_time())
"""
"""Includes the interpreter's start, like the peer's figure."""

Recorded = dict[str, tuple[str, bytes]]


def sessions() -> Recorded:
    """Return the longest recorded instance of each message: namespace and octets, by name."""
    found: Recorded = {}
    for name in ("app_protocol", "iso20_common", "iso20_dc"):
        for line in (VECTORS / f"{name}.jsonl").read_text("utf-8").splitlines():
            vector = json.loads(line)
            if vector["variant"].startswith("session:") and not vector["fragment"]:
                octets = bytes.fromhex(vector["exi_hex"])
                if len(octets) > len(found.get(vector["message"], ("", b""))[1]):
                    found[vector["message"]] = (vector["namespace"], octets)
    return found


class _Peer(msgspec.Struct):
    """Output of `exi_peer.py`: CPU of the first use, µs of a call to Java, and (decode, encode) by message."""

    first_use_s: float | None = None
    call_us: float = 0.0
    microseconds: dict[str, tuple[float, float]] = {}
    missing: str = ""


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield decode and encode of each typical message, their means over a session, and the first use."""
    found = sessions()
    peer = _peer(found, quick=quick)
    calls = 50 if quick else 1000
    totals = {"decode": 0.0, "encode": 0.0}
    for name, (uri, octets) in found.items():
        schema = NAMESPACES[uri]
        message = decode(octets, schema)
        assert encode(message) == octets
        works: tuple[tuple[str, Callable[[], object]], ...] = (
            ("decode", partial(decode, octets, schema)),
            ("encode", partial(encode, message)),
        )
        for (work, call), theirs in zip(works, peer.microseconds.get(name, (None, None)), strict=True):
            value = median(microseconds(call, calls=calls))
            totals[work] += value
            if name in TYPICAL:
                yield _figure(f"{work} {name}, {len(octets)} octets", value, theirs, peer)
    for number, (work, total) in enumerate(totals.items()):
        measured = [pair[number] for pair in peer.microseconds.values()]
        mean = sum(measured) / len(measured) if measured else None
        yield _figure(f"{work}, mean of {len(found)} messages of a session", total / len(found), mean, peer)
    yield Figure(
        f"start, load, decode and encode {len(found)} messages once",
        _first_use(found),
        "s CPU",
        peer=JOSEV,
        peer_value=peer.first_use_s,
        note=peer.missing or "whole process; the peer's including Java",
    )


def _figure(figure: str, value: float, theirs: float | None, peer: _Peer) -> Figure:
    ratio = f"{theirs / value:.0f} times as fast; " if theirs else ""
    note = peer.missing or f"{ratio}p50, warm; {digits(peer.call_us)} µs of the peer's are calls to Java"
    return Figure(figure, value, "µs", peer=JOSEV, peer_value=theirs, note=note)


def _first_use(found: Recorded) -> float:
    lines = "".join(f"{uri} {octets.hex()}\n" for uri, octets in found.values())
    command = [sys.executable, "-c", START_UP]
    runs = [subprocess.run(command, input=lines, capture_output=True, text=True, check=True) for _ in range(3)]
    return median(float(done.stdout) for done in runs)


def _peer(found: Recorded, *, quick: bool) -> _Peer:
    python = codec_python()
    if isinstance(python, str):
        return _Peer(missing=python)
    lines = "".join(
        json.dumps({"name": name, "namespace": uri, "exi_hex": octets.hex()}) + "\n"
        for name, (uri, octets) in found.items()
    )
    # -P: modules in the script's folder are this project's, not the peer's
    command = [str(python), "-P", str(Path(exi_peer.__file__)), *(("0", "2") if quick else ("15", "15"))]
    done = subprocess.run(
        command, input=lines, capture_output=True, text=True, start_new_session=True, check=False,
        env=environment(),
    )  # fmt: skip
    if done.returncode != 0:
        return _Peer(missing=f"peer failed: {done.stderr.strip().splitlines()[-1:]}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=_Peer)
