"""The folder of one run: certificates, three configurations, and all output of the programs."""

import hashlib
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from csms.db.pool import ContractPool
from pki_tools.issuing import Order, issue_certificate
from pki_tools.tree import PkiOptions, PkiTree, make_pki
from v2g.energy.grid_signal import GridSignal, SignalSlot
from v2g.pki.profiles import KeyKind, Role
from v2g.slac.timing import FAST
from v2g_cli.demo.scenario import Scenario
from v2g_cli.demo.tables import (
    CONTRACT,
    CUT,
    FETCHED,
    NEIGHBOURS,
    POLL_S,
    PROVISIONING,
    SECOND_EMAID,
    SECOND_EVCC_ID,
    SECOND_EVSE,
    SECOND_TOKEN,
)

QUARTER_MS: Final = 900_000
EVCC_ID: Final = "WMIV2GENGINE0000001X"
EMAID: Final = "DEV2GC00000001"
STATION: Final = "CS-V2G-0001"
PSEUDONYM: Final = "ev-7f3a"
SITE_LIMIT_W: Final = 60_000
EXPORT_LIMIT_W: Final = 20_000
LOWERED_LIMIT_W: Final = 6_000
REACTION_S: Final = 0.25
"""Real time for the charger to follow a lower limit; it is much simulated time."""

LOOP_TOLERANCE_S: Final = 2.0
"""Factor for message time-outs: a busy machine may delay the vehicle's process more than a real vehicle."""

MESSAGE_SCALE: Final = 5.0
"""The same for the charger's process; the standard allows half a second in the charge loop."""

SLOTS: Final = 96
"""Priced quarter-hours. On a busy machine hours of simulated time pass before a vehicle is plugged in."""

COMMAND_MS: Final = QUARTER_MS
"""Validity of a signed command. Simulated time is fast: a quarter of an hour is seconds of the demo."""


@dataclass
class RunFolder:
    """Paths and secrets of a run. `scale` is simulated seconds per second."""

    path: Path
    scenario: Scenario
    scale: float
    pki: PkiTree = field(init=False)
    mqtt_port: int | None = None
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    origin_monotonic: float = field(default_factory=time.monotonic)
    origin_utc_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)

    def prepare(self) -> None:
        """Create the folder and its certificates."""
        self.path.mkdir(parents=True, mode=0o700)
        options = PkiOptions(
            evcc_id=EVCC_ID,
            emaid=EMAID,
            station_id=STATION,
            gateway_id=PSEUDONYM,
            secc=self.scenario.secc,
            vehicle=self.scenario.vehicle,
            contract=self.scenario.contract,
            cps=self.scenario.cps,
            more_emaids=(SECOND_EMAID,) if self.scenario.two_evses else (),
        )
        self.pki = make_pki(self.path / "pki", now=datetime.now(UTC), options=options)
        if self.scenario.two_evses:
            self._prepare_second()
        self.write("grid.json", self.signal(1, EXPORT_LIMIT_W).to_json().decode())
        if self.scenario.install:
            self._fill_pool()

    def _prepare_second(self) -> None:
        """Create credentials for a second EVSE and vehicle, and a powerline that pairs each with its own."""
        for order in (
            Order(role=Role.VEHICLE, name="vehicle-2", common_name=SECOND_EVCC_ID),
            Order(role=Role.METER, name="meter-2", common_name="METER-0002", kind=KeyKind.SECP256R1),
        ):
            issue_certificate(self.pki.directory, order, at=datetime.now(UTC))
        (self.path / "medium").mkdir(mode=0o700)
        self.write("medium/stations.toml", NEIGHBOURS)

    def _fill_pool(self) -> None:
        """Move the vehicle's contract to the back end's pool."""
        passphrase = secrets.token_urlsafe(24)
        self.write("pool.secret", passphrase)
        contract = self.pki.credentials("contract")
        pool = ContractPool(self.path / "pool", passphrase.encode())
        pool.add(PkiOptions().pcid, contract.chain, contract.private_key)

    def write(self, name: str, text: str) -> Path:
        """Write a file with mode 0600."""
        path = self.path / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def utc_ms(self) -> int:
        """Return the simulated time."""
        return self.origin_utc_ms + int((time.monotonic() - self.origin_monotonic) * self.scale * 1000)

    def signal(self, version: int, export_limit_w: int) -> GridSignal:
        """Return a grid signal for a day: prices alternate every quarter of an hour."""
        start = self.origin_utc_ms - self.origin_utc_ms % QUARTER_MS
        prices = ((280_000, 120_000), (310_000, 340_000), (350_000, 420_000), (300_000, 250_000))
        slots = tuple(
            SignalSlot(
                start_ms=start + number * QUARTER_MS,
                duration_s=QUARTER_MS // 1000,
                import_price=prices[number % 4][0],
                export_compensation=prices[number % 4][1],
            )
            for number in range(SLOTS)
        )
        return GridSignal(
            version=version,
            issued_at_ms=self.utc_ms(),
            source="demo-dso",
            currency="EUR",
            slots=slots,
            site_import_limit_w=SITE_LIMIT_W,
            export_limit_w=export_limit_w,
            valid_until_ms=start + SLOTS * QUARTER_MS,
        )

    def _clock(self) -> str:
        return (
            f"[clock]\nscale = {self.scale}\norigin_monotonic = {self.origin_monotonic}\n"
            f"origin_utc_ms = {self.origin_utc_ms}\n"
        )

    def csms_config(self, *, ocpp_port: int = 0, api_port: int = 0) -> Path:
        """Write csms.toml; a restarted back end uses the same ports."""
        digest = hashlib.sha256(self.token.encode()).hexdigest()
        mqtt = (
            f"""
[mqtt]
host = "127.0.0.1"
port = {self.mqtt_port}
ca = "pki/csms/root.pem"
chain = "pki/csms/ingest/chain.pem"
key = "pki/csms/ingest/leaf.key"
"""
            if self.mqtt_port
            else ""
        )
        return self.write(
            "csms.toml",
            f"""data_dir = "csms"

[ocpp]
port = {ocpp_port}
certificate = "pki/csms/server/chain.pem"
key = "pki/csms/server/leaf.key"
client_roots = ["pki/csms/root.pem"]
subprotocols = [{", ".join(f'"{each}"' for each in self.scenario.ocpp)}]

[api]
port = {api_port}
certificate = "pki/csms/server/chain.pem"
key = "pki/csms/server/leaf.key"
client_roots = ["pki/csms/root.pem"]

[[api.tokens]]
name = "operator"
role = "admin"
sha256 = "{digest}"

[[api.clients]]
common_name = "{PSEUDONYM}"

[trust]
roots = ["pki/mo/root.pem", "pki/v2g/root.pem"]
crls = ["pki/mo/sub2.crl", "pki/oem/sub2.crl"]

[[stations]]
id = "{STATION}"

[[tokens]]
id_token = "{EMAID}"

{SECOND_TOKEN if self.scenario.two_evses else ""}
[grid]
signal_file = "grid.json"
{mqtt}
{PROVISIONING if self.scenario.install else ""}
{self._clock()}""",
        )

    def _shared(self, who: str) -> str:
        """Return the common part of charger and vehicle: the run's clock, and a message trace."""
        return f'[log]\ntrace = "{who}.trace.jsonl"\n\n{self._clock()}'

    def _slac(self, section: str, who: str) -> str:
        """Return the shortened timing of a simulated powerline, and a recording of it."""
        record = f'[{section}.record]\nfile = "{who}.pcapng"\n'
        if not self.scenario.plug:
            return record
        timing = msgspec.to_builtins(FAST) | ({"matched_poll_s": POLL_S[who]} if self.scenario.cut_powerline else {})
        lines = "\n".join(f"{name} = {value}" for name, value in timing.items())
        return f"[{section}.slac.timing]\n{lines}\n\n{record}"

    def cut_powerline(self) -> None:
        """Cut the powerline between all stations."""
        self.write("medium/stations.toml", CUT)

    def secc_config(self, *, ocpp_port: int, sdp_ports: Sequence[int]) -> Path:
        """Write secc.toml; each EVSE has its own SDP port."""
        return self.write(
            "secc.toml",
            f"""data_dir = "secc"

[link]
medium = "medium"

{self._slac("link", "secc")}
[sdp]
port = {sdp_ports[0]}

[tls]
chain = "pki/secc/chain.pem"
key = "pki/secc/leaf.key"
ocsp = "pki/secc/ocsp.der"
v2g_roots = ["pki/v2g/root.pem"]
oem_roots = ["pki/oem/root.pem"]
mo_roots = ["pki/mo/root.pem"]

[meter]
chain = "pki/meter/chain.pem"
key = "pki/meter/leaf.key"

[station]
url = "wss://127.0.0.1:{ocpp_port}/ocpp"
identity = "{STATION}"
store = "secc/station.sqlite3"

[station.tls]
ca = "pki/csms/root.pem"
chain = "pki/csms/station/chain.pem"
key = "pki/csms/station/leaf.key"

[charger]
certificate_installation = {str(self.scenario.install).lower()}
reaction_ms = {int(REACTION_S * 1000 * self.scale)}
{self.scenario.charger}

[charger.timing]
secc_loop_tolerance = {LOOP_TOLERANCE_S}

[charger.signed_discharge.terms]
max_command_validity_ms = {COMMAND_MS}

{self.scenario.secc_tables}
{SECOND_EVSE.format(ports=sdp_ports) if self.scenario.two_evses else ""}
{self._shared("secc")}""",
        )

    def _uplink(self, api_port: int) -> str:
        """Return the telemetry destination: the broker, or the back end without one."""
        where = (
            f'[telemetry.mqtt]\nhost = "127.0.0.1"\nport = {self.mqtt_port}'
            if self.mqtt_port
            else f'[telemetry.http]\nurl = "https://127.0.0.1:{api_port}/telemetry"'
        )
        return f"""{where}
ca = "pki/csms/root.pem"
chain = "pki/csms/gateway/chain.pem"
key = "pki/csms/gateway/leaf.key"
"""

    def second_evcc_config(self, *, sdp_port: int) -> Path:
        """Write evcc2.toml: the vehicle at the second EVSE, without telemetry."""
        return self.write(
            "evcc2.toml",
            f"""[vehicle]
evcc_id = "{SECOND_EVCC_ID}"

[link]
medium = "medium"
name = "ev-2"
connector = 2

{self._slac("link", "evcc2")}
[sdp]
port = {sdp_port}

[tls]
chain = "pki/vehicle-2/chain.pem"
key = "pki/vehicle-2/leaf.key"
anchors = ["pki/v2g/root.pem"]

[contract]
chain = "pki/contract-2/chain.pem"
key = "pki/contract-2/leaf.key"

[battery]
capacity_wh = 80000
soc = 20.0

[timers]
message_scale = {MESSAGE_SCALE}

{self.scenario.program}
{self._shared("evcc2")}""",
        )

    def evcc_config(self, *, sdp_port: int, api_port: int) -> Path:
        """Write evcc.toml."""
        return self.write(
            "evcc.toml",
            f"""[vehicle]
evcc_id = "{EVCC_ID}"

[link]
medium = "medium"

{self._slac("link", "evcc")}
[sdp]
port = {sdp_port}

[tls]
chain = "pki/vehicle/chain.pem"
key = "pki/vehicle/leaf.key"
anchors = ["pki/v2g/root.pem"]

{FETCHED if self.scenario.install else CONTRACT}
[battery]
capacity_wh = 60000
soc = 55.0

[needs]
departure_after_s = 21600
target_soc = 70
minimum_soc = 30

[timers]
message_scale = {MESSAGE_SCALE}

[discharge]
minimum_compensation = 0.10
minimum_soc = 40
max_power_w = 10000
command_validity_ms = {COMMAND_MS}
command_renew_ms = {COMMAND_MS // 3}
clock_skew_ms = 60000

{self.scenario.program}
{self.scenario.evcc_tables}
[telemetry]
ev = "{PSEUDONYM}"
outbox = "telemetry.sqlite3"

{self._uplink(api_port)}
{self._shared("evcc")}""",
        )
