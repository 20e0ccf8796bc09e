"""`v2g demo --console`: the back end of a demo stays, with its books, and a fleet charges and discharges at it."""

import contextlib
import itertools
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from csms.accounts import store as users
from csms.accounts.rules import Role
from csms.accounts.work import hash_password
from csms.db.store import Store, address
from v2g.errors import TransportError
from v2g.text import numbered
from v2g_cli.demo.folder import RunFolder
from v2g_cli.demo.operator import Operator
from v2g_cli.demo.processes import Event, EventFile, Program, free_port, program, wait_for

SPEED: Final = 20.0
"""Simulated seconds per second: a vehicle stays for some minutes."""

STATIONS: Final = 12
NAME: Final = "admin"
_PREFIX: Final = "DEPOT-"
_CARDS: Final = 40
_START_S: Final = 120.0
_WAVE_S: Final = 40.0
"""A set-point asks for power out of the vehicles for so many real seconds, then for power into them."""

_WAVE_W: Final = (-60_000, 80_000)
_POLL_S: Final = 0.2
_METERED_S: Final = 2
_BEHAVIOUR: Final = f"""arrivals_per_hour = 6.0
bidirectional = 0.7
vehicle_kw = [11.0, 50.0]
battery_kwh = [40.0, 80.0]
stay_hours = [0.5, 2.0]
linger_minutes = [0.0, 5.0]
tokens = {_CARDS}
offline_per_day = 6.0
offline_minutes = [2.0, 20.0]
faults_per_day = 6.0
fault_minutes = [5.0, 30.0]
"""
_PLAN: Final = {
    "id": "demo",
    "currency": "EUR",
    "zone": "Europe/Berlin",
    "description": "0.49 EUR/kWh, 0.31 EUR/kWh fed back",
    "energy": {"rates": [{"price": "0.412"}], "taxes": [{"kind": "VAT", "ppm": 190_000}]},
    "export": {"rates": [{"price": "0.31"}]},
}


class ConsoleDemo:
    """The back end of a run, open for a person, in the run's folder. Time goes on where the run ended, more slowly."""

    stations: Sequence[str] = numbered(_PREFIX, STATIONS)
    """Those whose meters are to be read often."""
    heartbeat_s = round(300 / SPEED)
    """Of stations, real seconds: a station that is not heard of for long counts as offline."""
    tables = ""
    """More tables of the back end's configuration, TOML."""

    def __init__(self, folder: RunFolder, say: Callable[[str], None], speed: float = SPEED) -> None:
        self._folder = folder
        self._say = say
        self._speed = speed
        self._events: list[Event] = []
        self._programs: list[Program] = []
        self._ports = {"ocpp": 0, "api": 0}

    def serve(self, seconds: float) -> None:
        """Open the console for a time, or until Ctrl-C. Raises V2GError when a program does not start."""
        password = secrets.token_urlsafe(9)
        self._folder.slow_down(self._speed)
        store = Store(address("", self._folder.path / "csms"))
        now_ms, hashed = self._folder.utc_ms(), hash_password(password)
        try:
            store.do(users.add, NAME, Role.ADMIN, hashed, now_ms, "demo")
            store.do(users.set_password, NAME, hashed, initial=False)
        finally:
            store.close()
        try:
            self._start_csms()
            self._operator.put_plan(_PLAN)
            self._begin()
            minutes = round(seconds / 60)
            self._say(f"console: https://localhost:{self._ports['api']}/")
            self._say(f"log in as {NAME} with the password {password}")
            self._say(f"open for {minutes} min, or until Ctrl-C; trust {self._folder.pki.path('csms/root.pem')}, or")
            self._say("accept the certificate; codes of second factors do not fit: time is simulated")
            with contextlib.suppress(KeyboardInterrupt):
                self._let_them_drive(seconds)
        finally:
            for each in reversed(self._programs):
                each.stop()

    def _start_csms(self) -> None:
        self._ports["ocpp"] = free_port()
        cards = "".join(f'[[tokens]]\nid_token = "CA4D{number:04}"\ntype = "ISO14443"\n' for number in range(_CARDS))
        config = self._folder.csms_config(
            dispatch_s=int(_WAVE_S * self._speed),
            listeners=f"heartbeat_interval_s = {self.heartbeat_s}\n"
            f"listeners = [{{ port = {self._ports['ocpp']}, security_profile = 2 }}]\n",
            tables=cards + self.tables,
        )
        back_end = program("csms", self._folder.path, config)
        self._programs.append(back_end)
        list(back_end.events.read())  # those of the run
        back_end.start()
        ready = wait_for(back_end, "ocpp", "ready", self._events, seconds=_START_S)
        self._ports["api"] = ready.data["api_port"]

    def _begin(self) -> None:
        """Let stations connect."""
        self._start_stations(_PREFIX, STATIONS, _BEHAVIOUR)

    def _start_stations(self, prefix: str, count: int, drivers: str) -> Program:
        """Admit stations, and start the simulator that they are in; `drivers`: their behaviour, TOML."""
        file = self._folder.path / f"{prefix}.csv"
        if not file.exists():  # else they were there before
            passwords = {name: secrets.token_hex(16) for name in numbered(prefix, count)}
            self._operator.admit(passwords)
            self._folder.write(file.name, "".join(f"{name},{each}\n" for name, each in passwords.items()))
        behaviour = self._folder.write(f"{prefix}.toml", drivers)
        root = self._folder.pki.path("csms/root.pem")
        command = [sys.executable, "-m", "v2g_cli", "station", "--url", f"wss://localhost:{self._ports['ocpp']}/ocpp"]
        command += ["--count", str(count), "--prefix", prefix, "--passwords", str(file), "--no-live"]
        command += ["--store", str(self._folder.path / "stations")]
        command += ["--ca", str(root), "--speed", str(self._speed), "--behaviour", str(behaviour), *self._since()]
        return self._start(prefix, command)

    def _since(self) -> list[str]:
        """Return the option of simulators by which they begin now."""
        return ["--begin", f"{datetime.fromtimestamp(self._folder.utc_ms() / 1000, UTC):%Y-%m-%dT%H:%M:%S}"]

    def _start(self, name: str, command: list[str], **secrets: str) -> Program:
        """Start a program of this demo; `secrets`: variables of its environment."""
        path = self._folder.path
        made = Program(name, command, path / f"{name}.log", EventFile(path / f"{name}.events"), secrets=secrets)
        self._programs.append(made)
        made.start()
        return made

    def _act(self, since_s: float) -> None:
        """Do what is to happen so many real seconds after the beginning."""

    def _let_them_drive(self, seconds: float) -> None:
        """Ask the fleet for power out of it and into it in turn."""
        begun, asked = time.monotonic(), 0.0
        wanted, silent = itertools.cycle(_WAVE_W), list(self.stations)
        while (now := time.monotonic()) < begun + seconds:
            self._act(now - begun)
            for each in self._programs:
                if code := each.poll():  # others may have ended by themselves
                    raise TransportError(f"{each.name} ended with {code}", hint=f"see {each.log}")
            if now >= asked:
                asked = now + _WAVE_S
                silent = [name for name in silent if not self._meters(name)]
                with contextlib.suppress(TransportError):
                    self._operator.dispatch(next(wanted))
            time.sleep(_POLL_S)

    def _meters(self, station: str) -> bool:
        """Have a station report its meters often; return whether it was there."""
        with contextlib.suppress(TransportError):
            self._operator.read_meters(station, _METERED_S)
            return True
        return False

    @property
    def _operator(self) -> Operator:
        return Operator(self._ports["api"], self._folder.pki.path("csms/root.pem"), self._folder.token)
