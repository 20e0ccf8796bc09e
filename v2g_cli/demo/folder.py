"""The folder of one run: certificates, three configurations, and all output of the programs."""

import hashlib
import secrets
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from csms.contracts.pool import ContractPool
from pki_tools.issuing import CertificateOrder, issue_certificate
from pki_tools.tree import PkiOptions, PkiTree, make_pki
from v2g.energy.grid_signal import GridSignal, SignalSlot
from v2g.pki.profile import Generation, KeyKind, Role
from v2g.slac.shared import FAST
from v2g.units import DAY_S, HOUR_MS, QUARTER_MS
from v2g_cli.demo.scenario import Scenario
from v2g_cli.demo.tables import (
    APP_TABLE,
    CHAIN_2,
    CONTRACT,
    CUT,
    FETCHED,
    POLL_S,
    PROVISIONING,
    PROVISIONING_2,
    emaid,
    evcc_id,
    evse_tables,
    medium_table,
    roaming_table,
    token_tables,
)

EVCC_ID: Final = evcc_id(1)
EMAID: Final = emaid(1)
STATION: Final = "CS-V2G-0001"
PSEUDONYM: Final = "ev-7f3a"
CAN_GROUP: Final = "239.74.163.2"
"""Multicast group of a CAN bus over UDP."""
SITE_LIMIT_W: Final = 60_000
VTN_LIMIT_W: Final = 12_000
EXPORT_LIMIT_W: Final = 20_000
LOWERED_LIMIT_W: Final = 6_000
REACTION_S: Final = 0.25
"""Real time for the charger to follow a lower limit; it is much simulated time."""

LOOP_TOLERANCE_S: Final = 2.0
"""Factor for message time-outs: a busy machine may delay the vehicle's process more than a real vehicle."""

CHECKPOINT_WH: Final = 2_500
"""Wh. How far vehicle and charger may differ: a simulated clock runs on by minutes while a message is on its way."""
MESSAGE_SCALE: Final = 5.0
"""The same for the charger's process; the standard allows half a second in the charge loop."""

OFFER_MS: Final = 86_400_000
"""Validity of an offer: a plan by the back end sees what a vehicle gives back as far ahead as it has been offered."""

DISPATCH_S: Final = 12.0
"""Validity of a set-point of the back end, real seconds."""

STEP_S: Final = 4.0
"""Length of a step of a VTN's event, real seconds."""

POLLED_S: Final = 0.3
"""How often the VTN is polled, real seconds."""

SLOTS: Final = 96
"""Priced quarter-hours. On a busy machine hours of simulated time pass before a vehicle is plugged in."""


@dataclass
class RunFolder:
    """Paths and secrets of a run. `scale` is simulated seconds per second."""

    path: Path
    scenario: Scenario
    scale: float
    pki: PkiTree = field(init=False)
    mqtt_port: int | None = None
    vtn_port: int = 0
    can_port: int = 0
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    origin_monotonic: float = field(default_factory=time.monotonic)
    origin_utc_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)

    def __post_init__(self) -> None:
        """Begin at the scenario's time of day."""
        if self.scenario.local_time is not None:
            zone, hour, _ = self.scenario.local_time
            now = datetime.now(ZoneInfo(zone))
            begin = now.replace(hour=hour, minute=0, second=0, microsecond=0)
            begin += timedelta(days=begin < now)
            self.origin_utc_ms = int(begin.timestamp()) * 1000

    @property
    def evses(self) -> range:
        """Numbers of the charger's EVSEs."""
        return range(1, len(self.scenario.neighbours) + 2)

    def target_soc(self, name: str) -> float:
        """Return the charge (%) that a vehicle's driver wants."""
        with (self.path / f"{name}.toml").open("rb") as file:
            return float(tomllib.load(file)["needs"]["target_soc"])

    @property
    def step_s(self) -> int:
        """Length of each step of a VTN's event: long enough to be seen, whatever the scale."""
        return max(900, int(STEP_S * self.scale)) // 60 * 60

    @property
    def command_ms(self) -> int:
        """Validity of a signed command."""
        return self.scenario.command_s * 1000

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
            more_emaids=tuple(emaid(number) for number in self.evses[1:]),
        )
        self.pki = make_pki(self.path / "pki", now=datetime.now(UTC), options=options)
        if Generation.ISO15118_2 in self.scenario.generations:
            older = msgspec.structs.replace(options, generation=Generation.ISO15118_2, key_kind=KeyKind.SECP256R1)
            make_pki(self.path / "pki-2", now=datetime.now(UTC), options=older)
        if self.scenario.neighbours:
            # credentials for more EVSEs and vehicles, and a powerline that pairs each with its own
            for number in self.evses[1:]:
                for order in (
                    CertificateOrder(role=Role.VEHICLE, name=f"vehicle-{number}", common_name=evcc_id(number)),
                    CertificateOrder(role=Role.METER, name=f"meter-{number}", common_name=f"METER-{number:04}"),
                ):
                    issue_certificate(self.pki.directory, order, at=datetime.now(UTC))
            (self.path / "medium").mkdir(mode=0o700)
            self.write("medium/stations.toml", medium_table(len(self.evses)))
        if self.scenario.prices:
            self.write("prices.json", self._prices())
        if self.scenario.mains:
            self.write("mains.csv", self.scenario.mains)
        self.write("grid.json", self.signal(1, EXPORT_LIMIT_W).to_json().decode())
        if self.scenario.install:
            # move the vehicle's contract to the back end's pool
            passphrase = secrets.token_urlsafe(24)
            self.write("pool.secret", passphrase)
            contract = PkiTree(self.path / self._own_tree).credentials("contract")
            pool = ContractPool(self.path / "pool", passphrase.encode())
            pool.add(PkiOptions().pcid, contract.chain, contract.private_key)

    def _prices(self) -> str:
        """Return the recorded prices, moved by whole days to that of the run."""
        document = msgspec.json.decode((resources.files("v2g_cli.demo") / "data" / self.scenario.prices).read_bytes())
        begin = document["unix_seconds"][0]
        moved = (self.origin_utc_ms // 1000 - begin) // DAY_S * DAY_S
        document["unix_seconds"] = [each + moved for each in document["unix_seconds"]]
        return msgspec.json.encode(document).decode()

    @property
    def trees(self) -> tuple[str, ...]:
        """Folders of the trees of certificates."""
        return ("pki", "pki-2")[: len(self.scenario.generations)]

    @property
    def _own_tree(self) -> str:
        """The tree of the session's edition."""
        return self.trees[-1] if self.scenario.edition == "2" else "pki"

    def _provisioning(self) -> str:
        """Return the back end's provisioning service, for vehicles of the editions that have certificates."""
        if not self.scenario.install:
            return ""
        first = PROVISIONING.format(oem_roots=self._files("oem/root.pem", "v2g/root.pem"))
        return first + (PROVISIONING_2 if len(self.trees) > 1 else "")

    def _files(self, *names: str) -> str:
        """Return files of all trees as members of a list, TOML."""
        return ", ".join(f'"{tree}/{name}"' for name in names for tree in self.trees)

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
        if self.scenario.fleet == "bids":  # nothing to trade with but what is bid
            prices = ((300_000, 120_000),) * 4
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

    def slow_down(self, scale: float) -> None:
        """Let time go on from now at another scale, for programs that start from now on; the broker is gone."""
        self.origin_utc_ms, self.origin_monotonic = self.utc_ms(), time.monotonic()
        self.scale, self.mqtt_port = scale, None

    def csms_config(
        self, *, ocpp_port: int = 0, api_port: int = 0, dispatch_s: int = 0, listeners: str = "", tables: str = ""
    ) -> Path:
        """Write csms.toml; a restarted back end uses the same ports. The others change it."""
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
            f"""{self._servers("csms", ocpp_port, api_port, listeners)}
[[api.clients]]
common_name = "{PSEUDONYM}"

[[stations]]
id = "{STATION}"

{roaming_table(api_port, "CPO") if self.scenario.roaming else token_tables([1])}
{tables}{token_tables(self.evses[1:])}
{APP_TABLE if self.scenario.remote_start else ""}
{self._grid()}
[balancing]
settle_s = 0.1
dispatch_duration_s = {dispatch_s or min(86_400, int(DISPATCH_S * self.scale))}
{mqtt}
{self._provisioning()}
{self._clock()}""",
        )

    def provider_config(self, api_port: int) -> Path:
        """Write provider.toml: the back end that gave the vehicle its contract."""
        tables = f"{token_tables([1])}\n{roaming_table(api_port, 'EMSP')}\n{self._clock()}"
        return self.write("provider.toml", f"{self._servers('provider', 0, api_port)}\n{tables}")

    def _servers(self, name: str, ocpp_port: int, api_port: int, listeners: str = "") -> str:
        """Return where a back end keeps its data and listens."""
        files = """certificate = "pki/csms/server/chain.pem"
key = "pki/csms/server/leaf.key"
client_roots = ["pki/csms/root.pem"]"""
        return f"""data_dir = "{name}"

[ocpp]
{listeners}port = {ocpp_port}
{files}
subprotocols = [{", ".join(f'"{each}"' for each in self.scenario.ocpp)}]

[api]
port = {api_port}
{files}

[[api.tokens]]
name = "operator"
role = "admin"
sha256 = "{hashlib.sha256(self.token.encode()).hexdigest()}"

[trust]
roots = [{self._files("mo/root.pem", "v2g/root.pem")}]
crls = [{self._files("mo/sub2.crl", "oem/sub2.crl")}]
"""

    def _grid(self) -> str:
        """Return the back end's source of prices and limits."""
        limit_w = VTN_LIMIT_W if self.scenario.vtn else SITE_LIMIT_W
        site = "[grid]\nprequalified_only = false\n"
        site += f'currency = "EUR"\nimport_limit_w = {limit_w}\nexport_limit_w = {EXPORT_LIMIT_W}\n'
        if self.scenario.prices:
            return f'{site}[[grid.prices]]\nname = "day-ahead"\nformat = "energy-charts"\nfile = "prices.json"\n'
        if self.scenario.vtn:
            return f"""{site}[grid.openadr]
url = "http://127.0.0.1:{self.vtn_port}"
client_id = "ven_client"
client_secret_file = "vtn.secret"
ven_name = "demo-depot"
poll_interval_s = {max(1.0, POLLED_S * self.scale)}
outage_s = 86400
"""
        return '[grid]\nprequalified_only = false\ncurrency = "EUR"\nsignal_file = "grid.json"\n'

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
without_tls = {str("din" in self.scenario.serves or self.scenario.without_tls).lower()}

[tls]
chain = "pki/secc/chain.pem"
key = "pki/secc/leaf.key"
ocsp = "pki/secc/ocsp.der"
v2g_roots = [{self._files("v2g/root.pem")}]
oem_roots = ["pki/oem/root.pem"]
mo_roots = [{self._files("mo/root.pem")}]
{CHAIN_2 if len(self.trees) > 1 else ""}
[meter]
chain = "pki/meter/chain.pem"
key = "pki/meter/leaf.key"

[station]
url = "wss://127.0.0.1:{ocpp_port}/ocpp"
identity = "{STATION}"
store = "secc/station.sqlite3"
versions = ["2.1", "2.0.1", "1.6"]

[station.tls]
ca = "pki/csms/root.pem"
chain = "pki/csms/station/chain.pem"
key = "pki/csms/station/leaf.key"

[charger]
editions = {list(self.scenario.serves)}
certificate_installation = {str(self.scenario.install).lower()}
reaction_ms = {int(REACTION_S * 1000 * self.scale)}
{self.scenario.charger}

[charger.timing]
secc_loop_tolerance = {LOOP_TOLERANCE_S}

[charger.signed_discharge.terms]
max_command_validity_ms = {self.command_ms}
offer_validity_ms = {OFFER_MS if self.scenario.fleet else HOUR_MS}

{self.scenario.secc_tables}
{evse_tables(sdp_ports)}
[local_events]
socket = "secc.sock"

{self._shared("secc")}""",
        )

    def _uplink(self, api_port: int) -> str:
        """Return the telemetry destination: the broker, or the back end without one."""
        where = (
            f'[mqtt]\nhost = "127.0.0.1"\nport = {self.mqtt_port}'
            if self.mqtt_port
            else f'[http]\nurl = "https://127.0.0.1:{api_port}/telemetry"'
        )
        return f"""{where}
ca = "pki/csms/root.pem"
chain = "pki/csms/gateway/chain.pem"
key = "pki/csms/gateway/leaf.key"
"""

    def neighbour_config(self, number: int, *, sdp_port: int) -> Path:
        """Write evccN.toml: the vehicle at a further EVSE, without telemetry."""
        name = f"evcc{number}"
        return self.write(
            f"{name}.toml",
            f"""[vehicle]
evcc_id = "{evcc_id(number)}"

[link]
medium = "medium"
name = "ev-{number}"
connector = {number}

{self._slac("link", name)}
[sdp]
port = {sdp_port}

[tls]
chain = "pki/vehicle-{number}/chain.pem"
key = "pki/vehicle-{number}/leaf.key"
anchors = ["pki/v2g/root.pem"]

[contract]
chain = "pki/contract-{number}/chain.pem"
key = "pki/contract-{number}/leaf.key"

[timers]
message_scale = {MESSAGE_SCALE}

{self._discharge()}
{self.scenario.program}
{self.scenario.neighbours[number - 2]}
{self._shared(name)}""",
        )

    def _stay_s(self) -> int:
        if self.scenario.local_time is None:
            return self.scenario.stay_s
        _, begin, end = self.scenario.local_time
        return (self.origin_utc_ms - self.utc_ms()) // 1000 + (end - begin) * 3600

    def _discharge(self) -> str:
        return f"""[discharge]
minimum_compensation = {self.scenario.least_price}
minimum_soc = 40
max_power_w = 10000
command_validity_ms = {self.command_ms}
command_renew_ms = {self.command_ms // 3}
clock_skew_ms = 60000
checkpoint_tolerance_wh = {CHECKPOINT_WH}
"""

    def evcc_config(self, *, sdp_port: int) -> Path:
        """Write evcc.toml."""
        return self.write(
            "evcc.toml",
            f"""editions = {list(self.scenario.offers)}

[vehicle]
evcc_id = "{EVCC_ID}"

[link]
medium = "medium"

{self._slac("link", "evcc")}
[sdp]
port = {sdp_port}
without_tls = {str(self.scenario.without_tls).lower()}
accept_without_tls = {str("din" in self.scenario.offers).lower()}

[tls]
chain = "pki/vehicle/chain.pem"
key = "pki/vehicle/leaf.key"
anchors = [{self._files("v2g/root.pem")}]

{(FETCHED if self.scenario.install else CONTRACT).format(tree=self._own_tree)}
[checkpoints]
file = "evcc/checkpoints.jsonl"

[battery]
{self.scenario.battery}

[needs]
departure_after_s = {self._stay_s()}
target_soc = 70
minimum_soc = 30

[timers]
message_scale = {MESSAGE_SCALE}

{self._discharge()}
{self.scenario.program.replace("{stay_s}", str(4 * self.step_s))}
{self.scenario.evcc_tables}
[hardware.can]
{self._can()}
[local_events]
socket = "evcc.sock"

{self._shared("evcc")}""",
        )

    def gateway_config(self, *, api_port: int) -> Path:
        """Write gateway.toml."""
        return self.write(
            "gateway.toml",
            f"""ev = "{PSEUDONYM}"
outbox = "telemetry.sqlite3"
event_sockets = ["evcc.sock", "secc.sock"]

[can]
{self._can()}
{self._uplink(api_port)}
{self._clock()}""",
        )

    def _can(self) -> str:
        """Return the vehicle's CAN bus: one of processes, by UDP on this machine."""
        return f'interface = "udp_multicast"\nchannel = "{CAN_GROUP}"\nport = {self.can_port}\n'
