"""`v2g csms init`, `v2g secc init`, `v2g evcc init`: a first configuration, its certificates and credentials."""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import socket
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from v2g.errors import ConfigError
from v2g_cli.output import say

Folder = Annotated[Path, typer.Argument(help="Folder of the configuration; existing files are kept.")]
Pki = Annotated[
    Path | None, typer.Option("--pki", help="Certificates, laid out as `v2g pki make` does; made if missing.")
]
Data = Annotated[Path | None, typer.Option("--data", help="Folder of the program's data; default: in FOLDER.")]
Owner = Annotated[
    str, typer.Option("--owner", help="User of the program, such as v2g-secc; gets the files. For root only.")
]
Contract = Annotated[str, typer.Option("--contract", help="EMAID of a contract that may charge.")]
Station = Annotated[str, typer.Option("--station", help="OCPP identity of the charging station.")]

EMAID: Final = "DEV2GC00000001"
STATION: Final = "CS-V2G-0001"
STATUS_PORT: Final = 8018
OLDER: Final = "iso15118-2"
"""Folder in a PKI of ours: another one, on secp256r1, for vehicles of ISO 15118-2."""

_CSMS: Final = """\
# A back end: v2g csms --config {file}. All keys: docs/reference/configuration.md.
data_dir = {data}

[ocpp]                                  # stations connect here: wss://HOST:{port}/ocpp/IDENTITY
host = "0.0.0.0"                        # "::" for IPv6
port = {port}
certificate = {server_chain}
key = {server_key}
client_roots = [{operator_root}]        # security profile 3: each station has a certificate of this root

[api]                                   # HTTPS of operators and programs
host = "0.0.0.0"                        # "::" for IPv6
port = {api_port}
certificate = {server_chain}
key = {server_key}

[[api.tokens]]                          # the first administrator; `v2g csms token` makes others
name = "admin"
role = "admin"
sha256 = "{sha256}"

[trust]                                 # contracts are valid under these roots, unless revoked
roots = [{mo_roots}, {v2g_root}]
crls = [{mo_crls}]

[[stations]]                            # admitted stations; `v2g csms admit` admits others
id = {station}

[[tokens]]                              # who may charge; `v2g csms allow` adds others
id_token = {contract}
"""

_CLIENT: Final = """\
# Access of `v2g csms` to the back end: --access {file}, or as ~/.config/v2g-engine/csms-client.toml
url = {url}
token = {token}
ca = {ca}
"""

_SECC: Final = """\
# A charger: v2g secc --config {file}. All keys: docs/reference/configuration.md.
data_dir = {data}
journal_keys = {journal_keys}             # seals what data_dir holds: keep a copy elsewhere

[charger]
evse_id = {evse_id}
editions = [{editions}]
{services}
[link]
{link}
[link.slac]                             # vehicles are matched by SLAC
{plc}
[sdp]
without_tls = {without_tls}

[tls]
chain = {chain}
key = {key}
ocsp = {ocsp}
v2g_roots = [{v2g_root}]
oem_roots = [{oem_root}]
mo_roots = [{mo_roots}]
{older}
[meter]                                 # signs readings (OCMF)
chain = {meter_chain}
key = {meter_key}

[hardware]                              # simulated; docs/how-to tells how to connect
kind = "{kind}"                             # pilot = "board", stage = "can", meter = "modbus"

[site]
charge_w = {charge_w}
discharge_w = 0                         # until the grid operator permits feeding back
{alone}
[status_page]                           # http://127.0.0.1:{status_port}/, to look at; the password is the token
port = {status_port}
token_file = {token_file}
"""

_CHAIN_2: Final = """
[[tls.other_chains]]                    # secp256r1, for vehicles of ISO 15118-2
chain = {chain}
key = {key}
ocsp = {ocsp}
"""
_CHAIN_FILES: Final = {"chain": "chain.pem", "key": "leaf.key", "ocsp": "ocsp.der"}

_STATION: Final = """
[station]
url = {url}
identity = {station}
store = {store}

[station.tls]
ca = {ca}
chain = {chain}
key = {key}
"""

_EVCC: Final = """\
# A simulated vehicle: v2g evcc --config {file}. All keys: docs/reference/configuration.md.
[vehicle]
evcc_id = "WMIV2GENGINE0000001X"

[link]
medium = {medium}

[link.slac]

[tls]
chain = {chain}
key = {key}
anchors = [{v2g_root}]

[contract]
chain = {contract_chain}
key = {contract_key}

[battery]
soc = 55.0

[[program]]                             # what it does; `do = "discharge"` feeds back
do = "charge"
for_s = 10
"""


def csms_init(
    folder: Folder,
    host: Annotated[
        list[str] | None, typer.Option("--host", help="Name or address of this back end; repeatable.")
    ] = None,
    station: Station = "",
    contract: Contract = "",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of stations (OCPP).")] = 9443,
    api_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the HTTP API.")] = 8443,
    pki: Pki = None,
    data: Data = None,
    owner: Owner = "",
) -> None:
    """Write the configuration of a back end, its certificates, and the access of the first administrator.

    Examples: `v2g csms init my-csms`, `v2g csms init /etc/v2g-engine --host csms.example.org --owner v2g-csms`
    """
    names = host or [_asked("Name or address by which stations reach this back end", socket.gethostname())]
    station = station or _asked("Identity of the first station", STATION)
    contract = contract or _asked("Contract (EMAID) that may charge", EMAID)
    made = _Files(folder, owner)
    config, client = made.new("csms.toml"), made.new("csms-client.toml")
    path = made.pki(pki, station=station, contract=contract, hosts=(*names, "localhost", "127.0.0.1", "::1"))
    token = secrets.token_urlsafe(32)
    made.write(
        config,
        _CSMS.format(
            file=config,
            data=_text(made.folder_for(data, "csms")),
            port=port,
            api_port=api_port,
            server_chain=path("csms/server/chain.pem"),
            server_key=path("csms/server/leaf.key"),
            operator_root=path("csms/root.pem"),
            mo_roots=", ".join(path(name) for name in made.both("mo/root.pem")),
            v2g_root=path("v2g/root.pem"),
            mo_crls=", ".join(path(name) for name in made.both("mo/sub2.crl")),
            sha256=hashlib.sha256(token.encode()).hexdigest(),
            station=_text(station),
            contract=_text(contract),
        ),
    )
    url = f"https://{_in_url(names[0])}:{api_port}"
    made.write(
        client, _CLIENT.format(file=client, url=_text(url), token=_text(token), ca=path("csms/root.pem")), owned=False
    )
    made.hand_over()
    say(f"{config}: the back end; {client}: the administrator's access")
    say(f"start it:      v2g csms --config {config}")
    say(f"ask it:        v2g csms --access {client} stations")
    say(f"add a charger: v2g secc init FOLDER --pki {made.made_pki} --csms wss://{_in_url(names[0])}:{port}/ocpp")


def secc_init(
    folder: Folder,
    csms: Annotated[
        str | None, typer.Option("--csms", help='wss:// URL of the back end; "" works without one.')
    ] = None,
    station: Station = "",
    contract: Contract = "",
    kind: Annotated[str, typer.Option("--kind", help="dc, or ac.")] = "",
    evse_id: Annotated[str, typer.Option("--evse-id", help="EVSEID that vehicles are told.")] = "DE*V2G*E0000001*1",
    power_kw: Annotated[int, typer.Option("--power-kw", min=1, max=10_000, help="Limit of the site, kW.")] = 150,
    edition: Annotated[
        list[str] | None, typer.Option("--edition", help="20, 2 or din; repeatable. Default: 20 and 2.")
    ] = None,
    interface: Annotated[
        str, typer.Option("--interface", help="Network interface of the powerline modem; none: simulated wires.")
    ] = "",
    status_port: Annotated[
        int | None,
        typer.Option(
            "--status-port", min=1, max=65535, help="Port of the status page, on this machine only. Default: free one."
        ),
    ] = None,
    pki: Pki = None,
    data: Data = None,
    owner: Owner = "",
) -> None:
    """Write the configuration of a charger, and its certificates where there are none.

    Examples: `v2g secc init my-charger --csms ""`,
    `v2g secc init /etc/v2g-engine --pki pki --csms wss://csms.example.org:9443/ocpp --interface eth1 --owner v2g-secc`
    """
    from v2g.io.storage.record_keys import RecordKeys

    made = _Files(folder, owner)
    config, token, keys = made.new("secc.toml"), made.new("status.token"), made.new("journal.keys")
    status_port = status_port or _free_port(folder)
    url = _asked("URL of the back end (wss://HOST:9443/ocpp), or nothing", "") if csms is None else csms
    kind = kind or _asked("Current: dc or ac", "dc")
    if kind not in ("dc", "ac"):
        raise ConfigError(f"{kind!r} is neither dc nor ac")
    editions = edition or ["20", "2"]
    if unknown := [each for each in editions if each not in ("20", "2", "din")]:
        raise ConfigError(f"{unknown[0]!r} is no edition", hint="20, 2 or din")
    if not url:
        contract = contract or _asked("Contract (EMAID) that may charge", EMAID)
    else:
        station = station or _asked("Identity of this station at the back end", STATION)
    path = made.pki(pki, station=station or STATION, contract=contract or EMAID, hosts=("localhost", "127.0.0.1"))
    data_dir = made.folder_for(data, "secc")
    written = _SECC.format(
        file=config,
        data=_text(data_dir),
        journal_keys=_text(keys.name),
        evse_id=_text(evse_id),
        editions=", ".join(map(_text, editions)),
        services="" if kind == "dc" else "services = [5, 1]                       # AC_BPT, AC\n",
        link=_link(interface, f"{data_dir}/medium" if owner else "medium"),
        plc=f'\n[link.plc]\nbackend = "raw"\ninterface = {_text(interface)}\n' if interface else "",
        without_tls="true" if "din" in editions else "false",
        chain=path("secc/chain.pem"),
        key=path("secc/leaf.key"),
        ocsp=path("secc/ocsp.der"),
        v2g_root=path("v2g/root.pem"),
        oem_root=path("oem/root.pem"),
        mo_roots=", ".join(path(name) for name in made.both("mo/root.pem")),
        older=_CHAIN_2.format(**{name: path(f"{OLDER}/secc/{file}") for name, file in _CHAIN_FILES.items()})
        if "2" in editions
        else "",
        meter_chain=path("meter/chain.pem"),
        meter_key=path("meter/leaf.key"),
        kind=kind,
        charge_w=power_kw * 1000,
        alone="" if url else f"contracts = [{_text(contract)}]\n",
        status_port=status_port,
        token_file=_text(token.name),
    )
    if url:
        written += _STATION.format(
            url=_text(url),
            station=_text(station),
            store=_text(f"{data_dir}/station.sqlite3"),
            ca=path("csms/root.pem"),
            chain=path("csms/station/chain.pem"),
            key=path("csms/station/leaf.key"),
        )
    made.write(config, written)
    made.write(token, secrets.token_urlsafe(32) + "\n")
    RecordKeys.rotate(keys)
    made.own(keys)
    made.hand_over()
    say(f"{config}: the charger; {token}: the password of its status page, http://127.0.0.1:{status_port}/")
    say(f"{keys}: seals journals and settlements (--keys of v2g settle); keep a copy elsewhere")
    say(f"check it: v2g secc --config {config} --check-config")
    say(f"start it: v2g secc --config {config} --live")


def evcc_init(
    folder: Folder,
    medium: Annotated[Path, typer.Option("--medium", help="Folder of the simulated wires of a charger.")] = Path(
        "medium"
    ),
    pki: Pki = None,
) -> None:
    """Write the configuration of a simulated vehicle with a contract.

    Example: `v2g evcc init my-vehicle --pki my-csms/pki --medium my-charger/medium`
    """
    made = _Files(folder, "")
    config = made.new("evcc.toml")
    path = made.pki(pki, station=STATION, contract=EMAID, hosts=("localhost", "127.0.0.1"))
    made.write(
        config,
        _EVCC.format(
            file=config,
            medium=_text(medium.absolute()),
            chain=path("vehicle/chain.pem"),
            key=path("vehicle/leaf.key"),
            v2g_root=path("v2g/root.pem"),
            contract_chain=path("contract/chain.pem"),
            contract_key=path("contract/leaf.key"),
        ),
    )
    say(f"{config}: the vehicle")
    say(f"plug it in: v2g evcc --config {config} --live")


def _free_port(folder: Path) -> int:
    """Return a port for the status page that nothing listens on, nor a charger beside `folder` will."""
    taken = {found for path in folder.absolute().parent.glob("*/secc.toml") if (found := _status_port_of(path))}
    for port in range(STATUS_PORT, STATUS_PORT + 1000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            if port not in taken:
                return port
    raise ConfigError("no port is free for the status page", hint="name one: --status-port")


def _status_port_of(path: Path) -> int | None:
    try:
        port = tomllib.loads(path.read_text()).get("status_page", {}).get("port", STATUS_PORT)
    except (OSError, ValueError, AttributeError):  # a file of somebody else
        return None
    return port if isinstance(port, int) else None


def _link(interface: str, medium: str) -> str:
    if interface:
        return f"interface = {_text(interface)}\n"
    return (
        f"medium = {_text(medium)}                       # folder of simulated wires, shared with a simulated vehicle\n"
    )


class _Files:
    """The files of a new configuration: none replaces another one, and only their owner reads them."""

    def __init__(self, folder: Path, owner: str) -> None:
        self._folder, self._owner = folder, owner
        self._written: list[Path] = []
        self.made_pki = Path()
        if owner and os.geteuid() != 0:
            raise ConfigError("--owner is for root", hint="sudo, or leave it out: the files are yours then")
        if owner:
            _user(owner)

    def new(self, name: str) -> Path:
        """Return the path of a file to be written. Raises ConfigError when it exists."""
        path = self._folder / name
        if path.exists():
            raise ConfigError(f"{path} exists", hint="edit it, move it away, or choose another folder")
        return path

    def write(self, path: Path, text: str, *, owned: bool = True) -> None:
        """Write a file of mode 0600; `owned` by the program's user."""
        from v2g.pki.keys import save_secret

        self._folder.mkdir(parents=True, exist_ok=True)
        save_secret(path, text.encode())
        if owned:
            self.own(path)

    def own(self, path: Path) -> None:
        """Count a file among those that the program's user gets."""
        self._written.append(path)

    def folder_for(self, data: Path | None, program: str) -> Path:
        """Return the folder of a program's data, absolute or relative to its configuration."""
        if data is not None:
            return data.absolute()
        return Path(f"/var/lib/v2g-engine/{program}") if self._owner else Path(program)

    def pki(self, given: Path | None, *, station: str, contract: str, hosts: tuple[str, ...]) -> Callable[[str], str]:
        """Return paths in the PKI as TOML, of which one is made where there is none; the program gets a copy."""
        from msgspec.structs import replace

        from pki_tools.options import PkiOptions
        from pki_tools.tree import PkiTree, make_pki
        from v2g.pki.profiles import Generation, KeyKind
        from v2g_cli.pki.common import now

        source = given or self._folder / "pki"
        if not source.exists():
            options = PkiOptions(station_id=station, emaid=contract, csms_hosts=hosts)
            make_pki(source, now=now(), options=options)
            older = replace(options, generation=Generation.ISO15118_2, key_kind=KeyKind.SECP256R1)
            make_pki(source / OLDER, now=now(), options=older)
            say(f"{source}: certificates of authorities of your own, for trials; their keys are there, too")
        PkiTree.load(source)
        self.made_pki = source
        return lambda name: _text(self._shown(source, name))

    def both(self, name: str) -> tuple[str, ...]:
        """Return the file of this name in the PKI, and the one of the older edition where there is one."""
        return tuple(each for each in (name, f"{OLDER}/{name}") if each == name or (self.made_pki / each).exists())

    def _shown(self, source: Path, name: str) -> Path:
        """Return the path of a file of the PKI, or of the program's copy: authorities' keys are not for programs."""
        if not (source / name).is_file():
            hint = f"v2g pki make {source} makes all that is needed"
            if name.startswith(OLDER):
                hint = f"--edition 20 needs none; v2g pki make {source / OLDER} --generation {OLDER} makes it"
            raise ConfigError(f"{source / name} is missing", hint=hint)
        if not self._owner:
            return (source / name).absolute()
        target = self._folder.absolute() / "certs" / self._owner / name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, target)
            target.chmod(0o600)
        self._written.append(target)
        return target

    def hand_over(self) -> None:
        """Give what was written to the program's user."""
        if not self._owner:
            return
        home = self._folder.absolute() / "certs" / self._owner
        for path in (*self._written, home, *home.rglob("*")):
            shutil.chown(path, *_user(self._owner))


def _user(name: str) -> tuple[int, int]:
    import pwd

    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise ConfigError(f"there is no user {name!r}", hint="systemd-sysusers makes those of the package") from None
    return found.pw_uid, found.pw_gid


def _asked(question: str, default: str) -> str:
    """Return the answer of a person at a terminal, else the default."""
    return str(typer.prompt(question, default=default)) if sys.stdin.isatty() else default


def _text(value: Any) -> str:
    """Return a TOML string."""
    return json.dumps(str(value), ensure_ascii=False)


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
