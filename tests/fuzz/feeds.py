"""What must hold for any document of a source of the grid signal: prices, OpenADR, IEEE 2030.5, SCADA."""

import contextlib
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final, get_args

import msgspec

from tests.csms.support import grid_signal
from tests.openadr.events import START_MS, descriptor, raw_event, raw_program
from v2g.energy.price_feeds import FORMATS, Markup, parse_feed
from v2g.errors import CodecError, FrameError
from v2g.hardware.energy_manager.modbus_server import ModbusConversation
from v2g.hardware.energy_manager.registers import EnergyRegisters
from v2g.ieee2030_5 import resources
from v2g.ieee2030_5.controls import ProgramState, demanded
from v2g.io.http.authorized import read_token
from v2g.openadr.demands import demands
from v2g.openadr.objects import read_events, read_programs, read_reports
from v2g.openadr.reports import wanted_report

VECTORS: Final = Path(__file__).parents[1] / "vectors"
_FORMATS: Final = get_args(FORMATS)
_NAMES: Final = ("DERControl", "DERProgram", "EndDevice", "FunctionSetAssignments")


def prices(data: bytes) -> None:
    """The first octet chooses the format, the rest is a document: slots in order, or refused."""
    if not data:
        return
    try:
        found = parse_feed(data[1:], _FORMATS[data[0] % len(_FORMATS)], Markup())
    except CodecError:
        return
    ends = [slot.start_ms + slot.duration_s * 1000 for slot in found.slots]
    assert all(slot.start_ms >= end for slot, end in zip(found.slots[1:], ends, strict=False))


def prices_seeds() -> list[bytes]:
    """Return a document of each format, and one whose period has no point."""
    a44 = (VECTORS / "prices" / "synthetic-entsoe-a44-end-of-summer-time.xml").read_bytes()
    head, _, tail = a44.partition(b"<Point>")
    documents = {
        "energy-charts": [(VECTORS / "prices" / "energy-charts-de-lu-2024-05-04.json").read_bytes()],
        "entsoe": [a44, head + tail[tail.rindex(b"</Point>") + 8 :]],
        "grid-signal": [grid_signal().to_json()],
    }
    return [bytes((_FORMATS.index(name),)) + each for name, found in documents.items() for each in found]


def openadr(data: bytes) -> None:
    """Anything is an answer of a VTN: its readable events have demands and times, or a problem with a name."""
    for read in (read_programs, read_reports, read_token):
        with contextlib.suppress(CodecError):
            read(data)
    try:
        events, _ = read_events(data)
    except CodecError:
        return
    programs, _ = read_programs(msgspec.json.encode([raw_program(descriptor("PRICE", units="KWH", currency="EUR"))]))
    for at_ms in (START_MS, START_MS + 1_000_000):
        found = demands(programs, events, at_ms, horizon_ms=86_400_000, ven_name="ven")
        assert found.until_ms > at_ms
    for event in events:
        with contextlib.suppress(CodecError):
            wanted_report(event, ven_name="ven")


def openadr_seeds() -> list[bytes]:
    """Return events of each kind, programs, a token."""
    kinds = ("PRICE", "IMPORT_CAPACITY_LIMIT", "EXPORT_CAPACITY_LIMIT", "DISPATCH_SETPOINT", "ALERT_GRID_EMERGENCY")
    events = [raw_event(f"e{number}", kind, 1.5, -2, 3) for number, kind in enumerate(kinds)]
    more = raw_event("e9", "PRICE", 1, duration="PT15M", priority=1, reportDescriptors=[{"payloadType": "USAGE"}])
    token = {"access_token": "t", "token_type": "Bearer", "expires_in": 60}
    found = (events, [more], [raw_program(descriptor("PRICE", units="KWH", currency="EUR"))], token)
    return [msgspec.json.encode(each) for each in found]


def der_server(data: bytes) -> None:
    """Anything is a resource of an IEEE 2030.5 server: what can be read has a state at any time."""
    for name in _NAMES:
        with contextlib.suppress(CodecError):
            resources.read_page(data, name)
    for name, read in (
        ("DefaultDERControl", resources.default_of),
        ("Time", resources.current_time_of),
        ("EndDevice", resources.end_device_of),
        ("DERProgram", resources.program_of),
        ("Registration", resources.pin_of),
        ("MirrorUsagePoint", resources.post_rate_of),
    ):
        with contextlib.suppress(CodecError):
            read(resources.read_resource(data, name))  # type: ignore[operator]
    with contextlib.suppress(CodecError):
        resources.capability_path(data)
    with contextlib.suppress(CodecError):
        page = resources.read_page(data, "DERControl")
        controls, _ = resources.readable(page.items, resources.control_of)
        program = resources.Program(mrid="p", primacy=1, controls_path="", default_path="")
        state = ProgramState(program=program, controls=controls, default=resources.ControlBase())
        for at_s in (0, 1_700_000_000, 2**40):
            demanded((state,), at_s, device="d", known={})


def der_server_seeds() -> list[bytes]:
    """Return resources of servers."""
    return [path.read_bytes() for path in sorted((VECTORS / "ieee2030_5").glob("*.xml"))]


def scada(data: bytes) -> None:
    """Anything is written to the registers of a back end; the first octet says how it is cut."""
    if not data:
        return
    registers, written = EnergyRegisters(0), []
    conversation = ModbusConversation(registers.read, lambda at, values: written.extend(registers.write(at, values)))
    with contextlib.suppress(FrameError):
        for at in range(1, len(data), data[0] + 1):
            conversation.receive(data[at : at + data[0] + 1])
    assert all(place == 0 for place, _ in written)


def scada_seeds() -> list[bytes]:
    """Return requests: a limit written, a heartbeat, the state read."""
    limit = struct.pack(">HHHBBHHBI", 1, 0, 11, 1, 16, 2, 2, 4, 11_000)
    return [b"\x07" + limit, b"\x30" + limit + struct.pack(">HHHBBHH", 3, 0, 6, 1, 4, 100, 20)]


TARGETS: Final[dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]]] = {
    "prices": (prices, prices_seeds),
    "openadr": (openadr, openadr_seeds),
    "der-server": (der_server, der_server_seeds),
    "scada": (scada, scada_seeds),
}
