"""Runs c104 as a control centre; started by its own interpreter, see tests/csms/grid/test_iec104.py.

Each line of standard input is a request in JSON; its answer is a line of standard output.
"""

import json
import sys
import time

import c104

TYPES = {"single": c104.Type.M_SP_TB_1, "float": c104.Type.M_ME_TF_1}


def main(port: int) -> None:
    client = c104.Client(tick_rate_ms=50, command_timeout_ms=5000)
    connection = client.add_connection(ip="127.0.0.1", port=port, init=c104.Init.NONE)
    station = connection.add_station(common_address=1)
    points = {}
    for address, kind in ((1001, "single"), (1002, "single"), (1105, "float"), (1109, "float"), (1110, "float")):
        points[address] = station.add_point(io_address=address, type=TYPES[kind])
    mode = c104.CommandMode.SELECT_AND_EXECUTE
    commands = {
        address: station.add_point(io_address=address, type=c104.Type.C_SE_NC_1, command_mode=mode)
        for address in (2101, 2102, 2103)
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
                answer = connection.interrogation(common_address=1)
            case "clock":
                answer = connection.clock_sync(common_address=1)
            case "test":
                answer = connection.test(common_address=1)
            case "command":
                point = commands[asked["address"]]
                point.value = bool(asked["value"]) if asked["address"] == 2001 else float(asked["value"])
                answer = point.transmit(cause=c104.Cot.ACTIVATION)
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
