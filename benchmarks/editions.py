"""All editions at one charger process, and a session of ISO 15118-2 compared with the peer's.

The charger and its vehicles are those of `benchmarks.charging`, first with ISO 15118-20 alone, then with a third of the
vehicles of each edition: plug and charge over TLS 1.3, the same over TLS 1.2, external payment over TCP alone. The
complete session is `v2g demo --scenario iso2-pnc`; the peer charges with the same messages in ten charge loops.
"""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from benchmarks import charging, session
from benchmarks.figures import Figure, percentile
from v2g.errors import TransportError
from v2g.iso15118.select import EditionName

ABOUT = "vehicles of all editions at one charger process, and a session of ISO 15118-2 compared with the peer's"

LOOPS: Final[Mapping[EditionName, tuple[str, str]]] = {
    "20": ("ISO 15118-20", "DC_ChargeLoopReq"),
    "2": ("ISO 15118-2", "CurrentDemandReq 2"),
    "din": ("DIN 70121", "CurrentDemandReq din"),
}
"""Edition -> its name, and its charge loop in a report."""


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield response times of each edition, alone and together, and the complete session of both implementations."""
    yield from _loops(("20",), "alone", quick=quick)
    yield from _loops(tuple(LOOPS), "a third of the vehicles", quick=quick)
    yield from _beside_peer(quick=quick)


def _loops(editions: tuple[EditionName, ...], how: str, *, quick: bool) -> Iterator[Figure]:
    vehicles = 3 if quick else charging.VEHICLES
    with tempfile.TemporaryDirectory() as folder:
        load = charging.many(Path(folder), vehicles, 1.0 if quick else charging.SECONDS, editions)
    report, rss_mib = load.report, load.rss_mib
    busy = load.cpu_s(report.began, report.over) / (report.over - report.began)
    times = {name: report.answers_ms.get(LOOPS[name][1], []) for name in editions}
    if not all(times.values()):
        raise TransportError("not every edition reached the charge loop", hint="is the machine very busy?")
    per_s = sum(map(len, times.values())) / (report.over - report.began)
    note = charging.words(report, per_s)
    for name in editions:
        for share, word in ((0.5, "p50"), (0.99, "p99")):
            yield Figure(
                f"response time of the charge loop, {LOOPS[name][0]}, {how}, {word}",
                percentile(times[name], share),
                "ms",
                target=charging.TARGET_MS,
                note=note,
            )
    what = "all editions" if len(editions) > 1 else f"{LOOPS[editions[0]][0]} {how}"
    cpu_ms = 1000 * busy / per_s
    yield Figure(f"CPU of the charger per charge loop, {what}", cpu_ms, "ms", note=note)
    yield Figure(f"peak memory of the charger, {what}", rss_mib, "MiB", note=note)


def _beside_peer(*, quick: bool) -> Iterator[Figure]:
    """Yield one complete session of ISO 15118-2, ours and the peer's, from the same run."""
    if not quick:
        session.run_own(quick=quick, scenario="iso2-pnc")  # from here on all byte code is cached
    own = session.run_own(quick=quick, scenario="iso2-pnc")
    peer, reason = (None, "not run in quick mode") if quick else session.run_peer("2")
    if peer is None and not quick:
        peer, reason = session.run_peer("2")  # on a busy machine its own timeouts may expire
    note = f"{own.loops} charge loops" + (
        f", the peer's {peer.loops}, without SLAC" if peer else f"; no peer: {reason}"
    )
    names = {
        "energy_s": "ISO 15118-2 with plug and charge: plug-in to first measured power",
        "cpu_s": "ISO 15118-2 with plug and charge: CPU of charger and vehicle",
        "secc_mib": "ISO 15118-2 with plug and charge: peak memory of the charger",
        "evcc_mib": "ISO 15118-2 with plug and charge: peak memory of the vehicle",
    }
    yield from session.beside(own, peer, names, note)
