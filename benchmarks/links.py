"""The powerline: messages per second, matching compared with the standard's waits, matching on bad lines."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator

from benchmarks.figures import Figure, median, microseconds, percentile
from tests.slac.conftest import Line, Station
from v2g.io.capture.pcapng import PcapngReader, interface, packet, section
from v2g.io.plc.datalink import ChargerLink, VehicleLink
from v2g.io.plc.link import Impairment, ImpairmentConfig, PlcConfig
from v2g.io.plc.opening import open_link
from v2g.io.plc.pilot import SimulatedChargerPilot, SimulatedVehiclePilot
from v2g.io.simulation.medium import Room
from v2g.observe import Observe
from v2g.slac import mme, uart
from v2g.slac.ev import EvSlacConfig
from v2g.slac.evse import EvseSlacConfig
from v2g.slac.mme import MmeFrame
from v2g.slac.shared import STANDARD, Matched

ABOUT = "management messages, serial framing, captures; matching without and with loss"
REQUIREMENTS = ("R21",)

EVSE, PEV, RUN = bytes.fromhex("020000000001"), bytes.fromhex("020000000002"), bytes(range(8))
MARGIN_S = 0.05
LOSSES = (0.05, 0.10, 0.20)
PATIENCE_S = 60.0

MESSAGES = (
    mme.CmSlacParmReq(run_id=RUN),
    mme.CmMnbcSoundInd(cnt=3, run_id=RUN, rnd=bytes(16)),
    mme.CmAttenCharInd(source_address=PEV, run_id=RUN, num_sounds=10, aag=bytes(range(58))),
    mme.CmSlacMatchCnf(pev_mac=PEV, evse_mac=EVSE, run_id=RUN, nid=bytes(7), nmk=bytes(16)),
)
FRAMES = tuple(mme.encode(MmeFrame(PEV, EVSE, message)) for message in MESSAGES)


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield codec figures compared with scapy's, matching in real time, and matching in simulated time on bad lines."""
    calls = 50 if quick else 4000
    yield from _codec(calls, quick=quick)
    yield _carrying("serial framing (wrap and unwrap)", _serial, calls)
    yield _carrying("recording and reading back (pcapng)", _captured, calls)
    yield from _matching(1 if quick else 10)
    for loss in LOSSES:
        yield _lossy(loss, 5 if quick else 400)


def _codec(calls: int, *, quick: bool) -> Iterator[Figure]:
    ours = median(microseconds(lambda: [mme.encode(mme.decode(frame)) for frame in FRAMES], calls=calls)) / len(FRAMES)
    theirs, note = _scapy(max(10, calls // 40))
    yield Figure(
        "a frame decoded and encoded",
        ours,
        "µs",
        peer="scapy homepluggp",
        peer_value=theirs,
        note=note or f"{1e6 / ours:,.0f} frames a second and core, mean of {len(FRAMES)} kinds",
    )


def _scapy(calls: int) -> tuple[float | None, str]:
    """Return scapy's time per frame, µs, or why it cannot run."""
    try:
        from scapy.contrib import homepluggp  # noqa: F401 - declares the layers
        from scapy.contrib.homeplugav import HomePlugAV
        from scapy.layers.l2 import Ether
    except ImportError as error:
        return None, f"scapy is not installed: {error}"

    def call() -> None:
        for frame in FRAMES:
            ethernet = Ether(frame)
            assert ethernet.haslayer(HomePlugAV)
            ethernet.clear_cache()
            bytes(ethernet)

    return median(microseconds(call, calls=calls)) / len(FRAMES), ""


def _serial() -> None:
    deframer = uart.Deframer()
    for frame in FRAMES:
        deframer.feed(uart.wrap(frame))


def _captured() -> None:
    reader = PcapngReader()
    reader.feed(section() + interface("plc"))
    for frame in FRAMES:
        reader.feed(packet(0, 1 << 60, frame, outbound=True))


def _carrying(figure: str, call: Callable[[], None], calls: int) -> Figure:
    value = median(microseconds(call, calls=calls)) / len(FRAMES)
    return Figure(figure, value, "µs", note=f"{1e6 / value:,.0f} frames a second and core")


def own_waits() -> float:
    """Return the standard's own waits in a matching without loss, s: TP_EV_batch_msg_interval between announcements
    and sounds. All other waits are for responses, which come at once."""
    gaps = STANDARD.start_announcements + mme.NUM_SOUNDS - 1
    return gaps * STANDARD.batch_interval_s


def _matched_at(*stations: Station) -> float:
    """Return when the last of them matched, s, or infinity."""
    times = [
        next(
            (at for at, action in zip(each.times, each.done, strict=True) if isinstance(action, Matched)), float("inf")
        )
        for each in stations
    ]
    return max(times)


def _matching(times: int) -> Iterator[Figure]:
    waits = own_waits()
    spans = asyncio.run(_match(times))
    yield Figure(
        "matching without loss, both ends in one process, slowest",
        max(spans) * 1000,
        "ms",
        target=(waits + MARGIN_S) * 1000,
        note=f"{times} matchings, p50 {median(spans) * 1000:.0f} ms; the standard's own waits: {waits * 1000:.0f} ms",
    )


def _ignore(_: Observe) -> None:
    """Ignore: no listener."""


async def _match(times: int) -> list[float]:
    """Return the time of each matching from plug-in to both links up, s, with the standard's timing."""
    spans = []
    for _ in range(times):
        room = Room()
        mediums = [room.attach("secc"), room.attach("evcc")]
        ports = [
            open_link(PlcConfig(), role="evse", medium=mediums[0]),
            open_link(PlcConfig(), role="ev", medium=mediums[1]),
        ]
        pilots = SimulatedChargerPilot(mediums[0]), SimulatedVehiclePilot(mediums[1])
        charger = ChargerLink(ports[0], pilots[0], EvseSlacConfig(), observe=_ignore)
        up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        charger.on_ready(lambda _, up=up: up.set_result(None))  # type: ignore[misc]
        await asyncio.sleep(0.05)  # the charger's modem sets its key before a vehicle arrives
        start = time.perf_counter()
        pilots[1].plug()
        vehicle = VehicleLink(ports[1], pilots[1], EvSlacConfig(), observe=_ignore)
        await vehicle.ready()
        await up
        spans.append(time.perf_counter() - start)
        vehicle.close()
        charger.close()
        for port in ports:
            port.close()
        for medium in mediums:
            medium.close()
    return spans


def _lossy(loss: float, runs: int) -> Figure:
    found = [_matched_with(loss, seed) for seed in range(runs)]
    matched = [each for each in found if each < PATIENCE_S]
    return Figure(
        f"matching with {loss:.0%} of all frames lost, p50",
        median(found),
        "s",
        note=f"{runs} runs in simulated time: {len(matched) / runs:.1%} matched within {PATIENCE_S:.0f} s, "
        f"p95 {percentile(found, 0.95):.2f} s",
    )


def _matched_with(loss: float, seed: int) -> float:
    line = Line()
    chance = random.Random(seed)
    weather: dict[tuple[int, int], Impairment] = {}

    def travel(source: Station, target: Station) -> tuple[float, ...]:
        way = id(source), id(target)
        if way not in weather:
            weather[way] = Impairment(ImpairmentConfig(seed=chance.randrange(2**32), loss=loss), "sent")
        return tuple(0.001 + delay for delay, _ in weather[way].arrivals(b""))

    line.travel = travel
    evse, _ = line.evse()
    ev, _ = line.ev()
    line.plug(ev, evse)
    while line.now < PATIENCE_S and _matched_at(ev, evse) == float("inf"):
        line.run(line.now + 1.0)
    return min(PATIENCE_S, _matched_at(ev, evse))
