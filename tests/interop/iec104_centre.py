"""Runs c104 as a control centre; started by its own interpreter, see tests/interop/test_iec104_hour.py.

Each line of standard input is a request in JSON; its answer is a line of standard output.
"""

import json
import sys
import time
from collections.abc import Callable

import c104

POINTS = {
    1001: c104.Type.M_SP_TB_1,
    1002: c104.Type.M_SP_TB_1,
    1101: c104.Type.M_ME_TE_1,
    1104: c104.Type.M_ME_TD_1,
    1105: c104.Type.M_ME_TF_1,
    1109: c104.Type.M_ME_TF_1,
    1110: c104.Type.M_ME_TF_1,
    1201: c104.Type.M_IT_TB_1,
    1202: c104.Type.M_IT_TB_1,
}


FREEZES = (c104.Frz.READ, c104.Frz.FREEZE_WITHOUT_RESET, c104.Frz.FREEZE_WITH_RESET, c104.Frz.COUNTER_RESET)
NUMBERS = {2101: float, 2102: c104.Int16, 2103: c104.NormalizedFloat, 2104: float, 2001: bool}


EVENTS: list[tuple[int, float, float]] = []
"""What has come of events: address, value, and the time (s since 1970) that c104 reads; its own is UTC by TZ."""
FRAMES: list[tuple[float, bool, str]] = []
"""When (s, monotonic) a frame came (True) or went (False), in hex."""


def taken(point: c104.Point, previous_info: c104.Information, message: c104.IncomingMessage) -> c104.ResponseState:
    """Note an event; what answers an interrogation has no time."""
    if point.recorded_at is not None:
        EVENTS.append((point.io_address, float(point.value), point.recorded_at.timestamp()))
    return c104.ResponseState.SUCCESS


def came(connection: c104.Connection, data: bytes) -> None:
    """Note a frame that came."""
    FRAMES.append((time.monotonic(), True, data.hex()))


def went(connection: c104.Connection, data: bytes) -> None:
    """Note a frame that went."""
    FRAMES.append((time.monotonic(), False, data.hex()))


def answered(request: Callable[..., bool], **about: object) -> bool:
    """Send a request, again if c104 missed its answer: it does when that comes before it begins to wait."""
    return any(request(**about) for _ in range(3))


def main(port: int) -> None:
    client = c104.Client(tick_rate_ms=50, command_timeout_ms=5000)
    connection = client.add_connection(ip="127.0.0.1", port=port, init=c104.Init.NONE)
    station = connection.add_station(common_address=1)
    points = {address: station.add_point(io_address=address, type=kind) for address, kind in POINTS.items()}
    for each in points.values():
        each.on_receive(callable=taken)
    connection.on_receive_raw(callable=came)
    connection.on_send_raw(callable=went)
    mode = c104.CommandMode.SELECT_AND_EXECUTE
    kinds = {2101: c104.Type.C_SE_NC_1, 2102: c104.Type.C_SE_NB_1, 2103: c104.Type.C_SE_NA_1}
    commands = {
        address: station.add_point(io_address=address, type=kind, command_mode=mode) for address, kind in kinds.items()
    }
    commands[2001] = station.add_point(io_address=2001, type=c104.Type.C_SC_NA_1, command_mode=mode)
    commands[2104] = station.add_point(io_address=2104, type=c104.Type.C_SE_NC_1)
    client.start()
    for line in sys.stdin:
        asked = json.loads(line)
        answer: object = None
        match asked["do"]:
            case "wait":
                until = time.monotonic() + 20
                while (connection.is_muted or not connection.is_connected) and time.monotonic() < until:
                    time.sleep(0.2)
                    if connection.is_connected and connection.is_muted:
                        connection.unmute()  # it sometimes forgets to start the transfer
                answer = connection.is_connected and not connection.is_muted
            case "interrogate":
                answer = answered(connection.interrogation, common_address=1)
            case "counters":
                how = FREEZES[asked["freeze"]]
                answer = answered(connection.counter_interrogation, common_address=1, freeze=how)
            case "clock":
                answer = answered(connection.clock_sync, common_address=1)
            case "test":
                answer = answered(connection.test, common_address=1)
            case "command":
                point = commands[asked["address"]]
                point.value = NUMBERS[asked["address"]](asked["value"])
                answer = answered(point.transmit, cause=c104.Cot.ACTIVATION)
            case "once":
                point = commands[asked["address"]]
                point.value = NUMBERS[asked["address"]](asked["value"])
                answer = connection.is_connected and point.transmit(cause=c104.Cot.ACTIVATION)
            case "events":
                answer, EVENTS[:] = EVENTS[:], []
            case "frames":
                answer, FRAMES[:] = FRAMES[:], []
            case "direct":
                point = commands[asked["address"]]
                point.command_mode = c104.CommandMode.DIRECT
                point.value = float(asked["value"])
                answer = point.transmit(cause=c104.Cot.ACTIVATION)
                point.command_mode = mode
            case "values":
                answer = {address: [float(point.value), str(point.quality)] for address, point in points.items()}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    client.stop()


main(int(sys.argv[1]))
