"""A grid signal's way to the plug: from the HTTP API to 1,000 stations, and from a station to its vehicles.

The back end is the real program on one core, `benchmarks.load.grid_stations` runs the stations on the other: TLS,
passwords, a vehicle in a transaction at each. Every round posts another set-point; a time is from the request until the
station's hardware has the new value. Some rounds run while gateways deliver telemetry as fast as it is answered.

The charger is the real program (`benchmarks.load.grid_charger` adds a stop-watch) with 200 vehicles in the charge loop
on the other core (`benchmarks.load.charging_vehicles`), 100 ms between two requests. A small back end sends each EVSE
another set-point, each as soon as the one before is answered. A time is from the station's receipt of the request until
the power stage has the new value, and until a vehicle has read a response with it. A value that never arrives counts as
the slowest.
"""

import asyncio
import hashlib
import http.client
import json
import os
import resource
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final, cast

import msgspec

from benchmarks import charging
from benchmarks.figures import Figure, percentile
from benchmarks.load import charging_vehicles, grid_stations
from benchmarks.load.grid_charger import Times
from benchmarks.station import ANSWERS
from csms.admission import store as admission
from csms.db.store import open_store
from pki_tools.tree import PkiOptions, PkiTree, make_pki
from v2g.errors import TransportError
from v2g.pki.password_hash import hash_password
from v2g.telemetry.delivery import encode_delivery
from v2g.telemetry.signals import Record, encode_record
from v2g_cli.demo.processes import Event, Program, program, wait_for
from v2g_station.simulator.behaviour import Behaviour

ABOUT = "a set-point from the back end's API to 1,000 stations, and on to the plugs of 200 sessions"
REQUIREMENTS = ("R54", "R29")

STATIONS: Final = 1000
VEHICLES: Final = 200
ROUNDS: Final = 8
TARGET_S: Final = 1.0
LOST_S: Final = 60.0
"""What counts for a value that never arrives."""
PASSWORD: Final = "benchmark-of-the-grid"
TOKEN: Final = "benchmark"
GATEWAYS: Final = 8
BATCH: Final = 100
BASE_W: Final = 10_000
BETWEEN_S: Final = 0.5

_CSMS: Final = """data_dir = "csms"
[ocpp]
port = 0
security_profile = 2
certificate = "pki/csms/server/chain.pem"
key = "pki/csms/server/leaf.key"
[api]
port = 0
certificate = "pki/csms/server/chain.pem"
key = "pki/csms/server/leaf.key"
requests_per_s = 100000
requests_at_once = 1000000
[[api.tokens]]
name = "benchmark"
role = "admin"
sha256 = "{digest}"
[trust]
roots = ["pki/mo/root.pem"]
"""
_CHARGER: Final = """
[hardware.watch]
hung_s = 10
[station]
url = "ws://127.0.0.1:{port}/ocpp"
identity = "BENCH"
store = "station.sqlite3"
password_file = "station.password"
"""


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield the times of both parts of the way, and of the way as a whole."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    stations, vehicles, rounds = (10, 3, 1) if quick else (STATIONS, VEHICLES, ROUNDS)
    with tempfile.TemporaryDirectory() as folder:
        first, alone, flooded, records_s = _to_stations(Path(folder), stations, rounds)
    load = f"load {os.getloadavg()[0]:.1f}"
    note = f"{stations} stations, {rounds} set-points; {_median(alone)}; {load}"
    yield _figure("request to a set-point in force at a station, p99", alone, note)
    yield _figure("the first set-point of each vehicle, which needs a profile, p99", first, note)
    note = f"telemetry as fast as {GATEWAYS} gateways deliver it: {records_s:.0f} records/s stored; {_median(flooded)}"
    yield _figure("the same with telemetry saturated, p99", flooded, note)
    with tempfile.TemporaryDirectory() as folder:
        stage, vehicle, ended = asyncio.run(_to_plugs(Path(folder), vehicles, rounds))
    load = f"load {os.getloadavg()[0]:.1f}"
    note = f"{vehicles} vehicles, {rounds} set-points each; {ended}; "
    yield _figure("receipt at the station to the power stage, p99", stage, f"{note}{_median(stage)}; {load}")
    yield _figure("receipt at the station to the vehicle's response, p99", vehicle, f"{note}{_median(vehicle)}; {load}")
    together = percentile(alone, 0.99) + percentile(stage, 0.99)
    about = "request to the power stage, sum of both p99"
    yield Figure(about, together, "s", target=TARGET_S, note=load)


def _figure(about: str, times: list[float], note: str) -> Figure:
    return Figure(about, percentile(times, 0.99), "s", note=note)


def _median(times: list[float]) -> str:
    return f"p50 {percentile(times, 0.5):.3f} s, slowest {max(times):.3f} s"


# -- to the stations


def _to_stations(folder: Path, count: int, rounds: int) -> tuple[list[float], list[float], list[float], float]:
    """Return the times of the first set-point, of others, of those under a flood of telemetry, and its records/s."""
    pki = make_pki(folder / "pki", now=datetime.now(UTC))
    csms = program("csms", folder, _csms_config(folder, count))
    with ExitStack() as stack:
        csms.start()
        stack.callback(csms.stop)
        assert csms.process is not None
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(csms.process.pid, {cores[0]})
        ports = wait_for(csms, "ocpp", "ready", [], seconds=charging.START_S).data
        plan = grid_stations.Plan(
            url=f"wss://127.0.0.1:{ports['ocpp_port']}/ocpp",
            count=count,
            password=PASSWORD,
            ca=str(pki.path("csms/root.pem")),
        )
        path = folder / "plan.json"
        path.write_bytes(msgspec.json.encode(plan))
        command = [sys.executable, "-m", "benchmarks.load.grid_stations", str(path)]
        stations = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        stack.callback(stations.kill)
        os.sched_setaffinity(stations.pid, {cores[-1]})
        if not cast(IO[bytes], stations.stdout).readline():
            raise TransportError("the stations crashed", hint=csms.log.read_text()[-2000:])
        api = Api(ports["api_port"], pki)
        sent: list[list[tuple[int, float]]] = [[], [], []]
        sent[0] += api.set_points(count, [1_000])
        sent[1] += api.set_points(count, [1_100 + 10 * number for number in range(rounds)])
        flood = Flood(ports["api_port"], pki)
        sent[2] += api.set_points(count, [2_100 + 10 * number for number in range(rounds)])
        records_s = flood.stop()
        output, _ = stations.communicate()
    arrivals: dict[tuple[int, int], float] = {}
    for each in msgspec.json.decode(output, type=list[grid_stations.Arrival]):
        arrivals.setdefault((each.station, each.setpoint_w), each.at)
    first, alone, flooded = (
        [arrivals.get((station, watts), at + LOST_S) - at for watts, at in part for station in range(count)]
        for part in sent
    )
    return first, alone, flooded, records_s


def _csms_config(folder: Path, count: int) -> Path:
    """Write csms.toml, and store the stations' passwords in the form for random ones: they are quick to check."""
    store = open_store("", folder / "csms")
    hashed = hash_password(PASSWORD, os.urandom(16), random=True)
    names = grid_stations.identities(count)
    store.do(admission.set_passwords, dict.fromkeys(names, hashed), 0, replace=True, admit_by="benchmark")
    store.close()
    text = _CSMS.format(digest=hashlib.sha256(TOKEN.encode()).hexdigest())
    behaviour = Behaviour(tokens=grid_stations.TOKENS)
    for number in range(grid_stations.TOKENS):
        text += f'[[tokens]]\nid_token = "{behaviour.card(number)}"\ntype = "{behaviour.token_type}"\n'
    path = folder / "csms.toml"
    path.touch(mode=0o600)
    path.write_text(text)
    return path


class Api:
    """A connection to the back end's HTTP API."""

    def __init__(self, port: int, pki: PkiTree) -> None:
        context = ssl.create_default_context(cafile=pki.path("csms/root.pem"))
        self._connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=LOST_S)

    def post(self, path: str, body: bytes) -> bytes:
        """Return the response's body. Raises TransportError for an error."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        self._connection.request("POST", path, body, headers)
        response = self._connection.getresponse()
        content = response.read()
        if response.status >= 300:
            raise TransportError(f"POST {path}: {response.status} {content[:300]!r}")
        return content

    def set_points(self, count: int, each_w: list[int]) -> list[tuple[int, float]]:
        """Post a set-point for every vehicle, one after the other; return each with the time of its request."""
        sent = []
        for watts in each_w:
            time.sleep(BETWEEN_S)
            sent.append((watts, time.monotonic()))
            self.post("/dispatch/setpoint", json.dumps({"setpoint_w": watts * count}).encode())
        time.sleep(BETWEEN_S)
        return sent


class Flood:
    """Gateways that deliver telemetry, each as fast as it is answered."""

    def __init__(self, port: int, pki: PkiTree) -> None:
        self._stopped, self._counts = threading.Event(), [0] * GATEWAYS
        self._began = time.monotonic()
        self._threads = [
            threading.Thread(target=self._deliver, args=(number, Api(port, pki))) for number in range(GATEWAYS)
        ]
        for thread in self._threads:
            thread.start()

    def _deliver(self, number: int, api: Api) -> None:
        record = Record(
            ev=f"EV-{number}",
            boot=1,
            seq=1,
            utc_ms=time.time_ns() // 1_000_000,
            context="charging",
            keyframe=True,
            signals={"battery.soc": 50.0, "battery.voltage": 400.0, "battery.current": 12.5},
        )
        while not self._stopped.is_set():
            first = self._counts[number] + 1
            records = (msgspec.structs.replace(record, seq=first + n) for n in range(BATCH))
            api.post("/telemetry", encode_delivery(map(encode_record, records)))
            self._counts[number] += BATCH

    def stop(self) -> float:
        """End; return how many records were stored each second."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        return sum(self._counts) / (time.monotonic() - self._began)


# -- to the plugs


class SmallCsms:
    """A back end of one station, which accepts everything."""

    def __init__(self) -> None:
        self.transactions: dict[int, str] = {}
        self.charging: set[str] = set()
        self._connection: Any = None
        self._waiting: dict[str, asyncio.Future[Any]] = {}

    async def listen(self) -> tuple[Any, int]:
        """Return a server, and its port."""
        from websockets.asyncio.server import serve
        from websockets.typing import Subprotocol

        server = await serve(self.serve, "127.0.0.1", 0, subprotocols=[Subprotocol("ocpp2.1")], compression=None)
        return server, next(iter(server.sockets)).getsockname()[1]

    async def serve(self, connection: Any) -> None:
        """Answer the station, and take its answers."""
        from websockets.exceptions import ConnectionClosed

        self._connection = connection
        try:
            async for text in connection:
                kind, identifier, *rest = json.loads(text)
                if kind == 2:
                    answer = self._answer(*rest)
                    await connection.send(json.dumps([3, identifier, answer]))
                elif (waiting := self._waiting.pop(identifier, None)) is not None and not waiting.done():
                    waiting.set_result(rest[0])
        except ConnectionClosed:
            return

    def _answer(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        if action == "TransactionEvent":
            about = payload["transactionInfo"]
            if "evse" in payload:
                self.transactions[payload["evse"]["id"]] = about["transactionId"]
            if about.get("chargingState") == "Charging":
                self.charging.add(about["transactionId"])
        known = {"NotifyEVChargingNeeds", "NotifyEVChargingSchedule"}
        return {"status": "Accepted"} if action in known else ANSWERS.get(action, {})

    async def call(self, identifier: str, action: str, payload: dict[str, Any]) -> None:
        """Send a request, and wait for its answer."""
        answered = self._waiting[identifier] = asyncio.get_running_loop().create_future()
        await self._connection.send(json.dumps([2, identifier, action, payload]))
        answer = await asyncio.wait_for(answered, LOST_S)
        if not isinstance(answer, dict) or answer.get("status") != "Accepted":
            raise TransportError(f"{action} {identifier}: {answer}")

    async def wait_for(self, vehicles: int) -> None:
        """Wait until so many vehicles charge, or too long."""
        deadline = time.monotonic() + charging.PATIENCE_S
        while len(self.charging) < vehicles and time.monotonic() < deadline:
            await asyncio.sleep(0.1)

    async def set_point(self, evse_id: int, watts: int, *, first: bool) -> str:
        """Send an EVSE a set-point, the first one in a profile; return the request's id."""
        identifier, profile_id = f"set-{watts}", 300 + evse_id
        if not first:
            update = {"chargingProfileId": profile_id, "scheduleUpdate": {"setpoint": watts}}
            await self.call(identifier, "UpdateDynamicSchedule", update)
            return identifier
        period = {"setpoint": watts, "operationMode": "CentralSetpoint"}
        await self.call(identifier, "SetChargingProfile", self._profile(evse_id, period, kind="Dynamic"))
        return identifier

    def limit(self, evse_id: int, *, discharge_w: int) -> dict[str, Any]:
        """Return the request that limits a vehicle's discharge."""
        period = {"limit": BASE_W, "dischargeLimit": -discharge_w, "operationMode": "ExternalLimits"}
        return self._profile(evse_id, period, kind="Relative")

    def _profile(self, evse_id: int, period: dict[str, Any], *, kind: str) -> dict[str, Any]:
        periods = [{"startPeriod": 0, **period}]
        schedule = {"id": 1, "duration": 3600, "chargingRateUnit": "W", "chargingSchedulePeriod": periods}
        profile = {
            "id": 300 + evse_id,
            "stackLevel": 2,
            "chargingProfilePurpose": "TxProfile",
            "chargingProfileKind": kind,
            "transactionId": self.transactions[evse_id],
            "chargingSchedule": [schedule],
        }
        return {"evseId": evse_id, "chargingProfile": profile}


async def _to_plugs(folder: Path, vehicles: int, rounds: int) -> tuple[list[float], list[float], str]:
    """Return the times to the power stage and to the vehicles, and how the sessions ended."""
    csms = SmallCsms()
    server, port = await csms.listen()
    pki, config = connected_charger(folder, vehicles, port)
    charger = program("secc", folder, config, module="benchmarks.load.grid_charger")
    sent: dict[int, str] = {}
    with ExitStack() as stack:
        charger.start()
        stack.callback(charger.stop)
        fleet = await asyncio.to_thread(start_vehicles, charger, folder, pki, 5.0 + 8.0 * rounds)
        stack.callback(fleet.kill)
        await csms.wait_for(vehicles)
        for number in range(rounds + 1):
            await asyncio.sleep(2 * BETWEEN_S)
            for evse_id in sorted(csms.transactions):
                watts = BASE_W + (number * VEHICLES + evse_id)
                with suppress(TransportError):  # its session has ended: lost
                    sent[watts] = await csms.set_point(evse_id, watts, first=number == 0)
        output, _ = await asyncio.to_thread(fleet.communicate)
        await asyncio.to_thread(charger.stop)
    server.close()
    report = msgspec.json.decode(output, type=charging_vehicles.Report)
    times = msgspec.json.decode((folder / "times.json").read_bytes(), type=Times)
    driven = {watts: at for at, watts in reversed(times.driven)}
    seen = {watts: at for at, watts in reversed(report.limits)}
    received = {watts: times.received[identifier] for watts, identifier in sent.items()}
    lost = [LOST_S] * (vehicles * (rounds + 1) - len(sent))
    stage = [driven.get(watts, at + LOST_S) - at for watts, at in received.items()] + lost
    vehicle = [seen.get(watts, at + LOST_S) - at for watts, at in received.items()] + lost
    return stage, vehicle, f"{report.ended.count('finished')} sessions finished"


def connected_charger(folder: Path, vehicles: int, port: int) -> tuple[PkiTree, Path]:
    """Return certificates, and the configuration of a charger whose back end listens at a port."""
    pki = make_pki(folder / "pki", now=datetime.now(UTC), options=PkiOptions())
    config = charging.charger_config(folder, pki, vehicles)
    (folder / "station.password").touch(mode=0o600)
    (folder / "station.password").write_text(PASSWORD)
    with config.open("a") as file:
        file.write(_CHARGER.format(port=port))
    return pki, config


def start_vehicles(
    charger: Program, folder: Path, pki: PkiTree, seconds: float, *, discharge: bool = False
) -> "subprocess.Popen[bytes]":
    """Wait for the charger, and start one vehicle for each EVSE, to stay so long once all charge."""
    assert charger.process is not None
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(charger.process.pid, {cores[0]})
    seen: list[Event] = []
    wait_for(charger, "session", "ready", seen, seconds=charging.START_S)
    ports = [event.data["tls_port"] for event in seen if event.name == "listens"]
    plan = charging_vehicles.Plan(
        pki=str(pki.directory), ports=ports, seconds=seconds, patience_s=charging.PATIENCE_S, discharge=discharge
    )
    fleet = charging.start_vehicles(folder, plan)
    os.sched_setaffinity(fleet.pid, {cores[-1]})
    return fleet
