"""`v2g csms init`, `v2g secc init`, `v2g evcc init`: a first configuration, its certificates and credentials.

All of its files appear, or none, and none replaces another.
"""

import contextlib
import hashlib
import json
import os
import secrets
import shlex
import shutil
import socket
import sys
import tempfile
import tomllib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final, Self

import typer

from v2g.errors import ConfigError
from v2g_cli.output import say

OLDER: Final = "iso15118-2"
"""Folder in a PKI of ours: another one, on secp256r1, for vehicles of ISO 15118-2."""


GATEWAY: Final = "ev-0001"
"""Pseudonym of the vehicle whose telemetry gateway has a certificate in a new PKI."""


class InitFiles:
    """Files are written beside their place, and moved there on leaving the context without an error.

    The configuration is written last: without it another attempt goes on with what was moved. Only their owner reads
    files; `owner` is the program's user.
    """

    def __init__(self, folder: Path, owner: str = "", *, replace: bool = False) -> None:
        """With `replace`, copies of certificates of another PKI are replaced. Raises ConfigError."""
        self._folder, self._owner, self._replace = folder, owner, replace
        self._moves: dict[Path, Path] = {}
        """Where each file, or folder, is until it is moved, by its place; in order."""
        self._stages: list[Path] = []
        self._ours: set[Path] = set()
        self.pki = Path()
        """The PKI, and where it is until then."""
        self._pki_now = Path()
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"{folder} is not a folder", hint="name a folder, or one that does not exist yet")
        if owner and os.geteuid() != 0:
            raise ConfigError("--owner is for root", hint="sudo, or leave it out: the files are yours then")
        self._ids = _ids_of(owner) if owner else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if error is None:
                for target, staged in self._moves.items():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    staged.replace(target)
                self._hand_over()
                if self.pki in self._moves:
                    say(f"{self.pki}: certificates of authorities of your own, for trials; their keys are there, too")
        finally:
            for stage in self._stages:
                shutil.rmtree(stage, ignore_errors=True)

    def new(self, name: str) -> Path:
        """Return the path of a file to be written. Raises ConfigError when it exists."""
        path = self._folder / name
        if path.exists():
            raise ConfigError(f"{path} exists", hint="edit it, move it away, or choose another folder")
        return path

    def stage(self, target: Path) -> Path:
        """Return where to write what will be at `target`: on the same file system, in a folder for us only."""
        there = next(each for each in target.absolute().parents if each.is_dir())
        stage = Path(tempfile.mkdtemp(prefix=".v2g-init-", dir=there))
        self._stages.append(stage)
        self._moves[target] = stage / target.name
        return self._moves[target]

    def write(self, path: Path, text: str, *, owned: bool = True) -> None:
        """Write a file of mode 0600, for the program's user if it is `owned`."""
        from v2g.pki.keys import save_secret

        save_secret(self.stage(path), text.encode())
        if not owned:
            self._ours.add(path)

    def configure(self, path: Path, read: Callable[..., object], text: str) -> None:
        """Write the configuration of a program, once its `read` takes it. Raises ConfigError."""
        try:
            read(text, name=str(path))
        except ConfigError as error:
            raise ConfigError(f"not written: {error}", hint=error.hint) from None
        self.write(path, text)

    def folder_for(self, data: Path | None, program: str) -> Path:
        """Return the folder of a program's data, absolute or relative to its configuration."""
        if data is not None:
            return data.absolute()
        return Path(f"/var/lib/v2g-engine/{program}") if self._owner else Path(program)

    def use_pki(self, given: Path | None, *, station: str, contract: str, hosts: tuple[str, ...]) -> None:
        """Take certificates from a PKI, which is made where there is none. Raises ConfigError."""
        from msgspec.structs import replace

        from pki_tools.layout import PkiOptions
        from pki_tools.tree import PkiTree, make_pki
        from v2g.pki.profile import Generation, KeyKind
        from v2g_cli.pki.common import now

        self.pki = self._pki_now = given or self._folder / "pki"
        if not self.pki.exists():
            self._pki_now = self.stage(self.pki)
            options = PkiOptions(station_id=station, emaid=contract, csms_hosts=hosts, gateway_id=GATEWAY)
            make_pki(self._pki_now, now=now(), options=options)
            older = replace(options, generation=Generation.ISO15118_2, key_kind=KeyKind.SECP256R1)
            make_pki(self._pki_now / OLDER, now=now(), options=older)
        PkiTree.load(self._pki_now)

    def of_station(self, identity: str) -> str:
        """Return the folder of this station's certificate in the PKI. Raises ConfigError when it has none."""
        return _of_station(self._pki_now, identity, self.pki)

    def both(self, name: str) -> tuple[str, ...]:
        """Return the file of this name in the PKI, and the one of the older edition where there is one."""
        return tuple(each for each in (name, f"{OLDER}/{name}") if each == name or (self._pki_now / each).exists())

    def certificate(self, name: str) -> Path:
        """Return the path of a file of the PKI, or of the program's copy: authorities' keys are not for programs."""
        source = self._pki_now / name
        if not source.is_file():
            hint = f"v2g pki make {self.pki} makes all that is needed"
            if name.startswith(OLDER):
                hint = f"--edition 20 needs none; v2g pki make {self.pki / OLDER} --generation {OLDER} makes it"
            raise ConfigError(f"{self.pki / name} is missing", hint=hint)
        if not self._owner:
            return (self.pki / name).absolute()
        target = self._copies / name
        if target.exists() and target.read_bytes() == source.read_bytes():
            return target
        if target.exists() and not self._replace:
            raise ConfigError(f"{target} is of another PKI", hint=f"--replace puts that of {self.pki} in its place")
        if target not in self._moves:
            shutil.copyfile(source, self.stage(target))
            self._moves[target].chmod(0o600)
        return target

    @property
    def _copies(self) -> Path:
        return self._folder.absolute() / "certs" / self._owner

    def _hand_over(self) -> None:
        """Give what was written to the program's user."""
        if self._ids is None:
            return
        for path in (*self._moves, self._copies, *self._copies.rglob("*")):
            if path != self.pki and path not in self._ours:
                shutil.chown(path, *self._ids)


def _of_station(pki: Path, identity: str, later: Path) -> str:
    """Return the folder of a station's certificate in a PKI, which is going to be at `later`. Raises ConfigError when
    it has none."""
    from secc.config import check_identity
    from v2g_cli.pki.issue import default_folder

    own = default_folder("station", identity)
    if (pki / own / "chain.pem").is_file():
        return own
    if (first := pki / "csms/station/chain.pem").is_file():
        issue = f"v2g pki issue {_shown(later)} --role station --cn {shlex.quote(identity)}"
        check_identity(identity, first, hint=f"issue its certificate, then repeat this: {issue}")
    return "csms/station"


def of_init(folder: Path, names: tuple[str, ...]) -> tuple[tuple[str, ...], str, Path, str, str]:
    """Return what stations need for a back end of `csms_init` on this machine: their identities, its URL and root, and
    the files of certificates and keys, with {identity} for several. Without `names` its first station is meant.

    Raises ConfigError.
    """
    from csms.config import load_config

    config = load_config(folder / "csms.toml")
    if not config.ocpp.client_roots or not (names or config.stations):
        raise ConfigError(f"{folder} is not of v2g csms init", hint="--url, --ca, --cert, --key")
    names = names or (config.stations[0].id,)
    root = config.ocpp.client_roots[0]
    pki = root.parent.parent
    folders = {identity: _of_station(pki, identity, pki) for identity in names}
    of_one = pki / (folders[names[0]] if len(names) == 1 else "station/{identity}")
    url = f"wss://localhost:{config.ocpp.port}/ocpp"
    return names, url, root, str(of_one / "chain.pem"), str(of_one / "leaf.key")


def _ids_of(name: str) -> tuple[int, int]:
    import pwd

    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise ConfigError(f"there is no user {name!r}", hint="systemd-sysusers makes those of the package") from None
    return found.pw_uid, found.pw_gid


Folder = Annotated[Path, typer.Argument(help="Folder of the configuration; existing files are kept.")]
Pki = Annotated[
    Path | None, typer.Option("--pki", help="Certificates, laid out as `v2g pki make` does; made if missing.")
]
Data = Annotated[Path | None, typer.Option("--data", help="Folder of the program's data; default: in FOLDER.")]
Owner = Annotated[
    str, typer.Option("--owner", help="User of the program, such as v2g-secc; gets the files. For root only.")
]
Contract = Annotated[str, typer.Option("--contract", help="EMAID of a contract that may charge.")]
Replace = Annotated[
    bool, typer.Option("--replace", help="Replace the program's copies of certificates of another PKI.")
]
Station = Annotated[str, typer.Option("--station", help="OCPP identity of the charging station.")]

EMAID: Final = "DEV2GC00000001"
STATION: Final = "CS-V2G-0001"
STATUS_PORT: Final = 8018

_CHAIN_FILES: Final = {"chain": "chain.pem", "key": "leaf.key", "ocsp": "ocsp.der"}


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
    replace: Replace = False,
) -> None:
    """Write the configuration of a back end, its certificates, and the access of the first administrator.

    Examples: `v2g csms init my-csms`, `v2g csms init /etc/v2g-engine --host csms.example.org --owner v2g-csms`
    """
    names = host or [_asked("Name or address by which stations reach this back end", socket.gethostname())]
    station = station or _asked("Identity of the first station", STATION)
    contract = contract or _asked("Contract (EMAID) that may charge", EMAID)
    from csms.accounts.work import hash_password, new_password  # on demand: a third of a second
    from csms.config import parse

    token, password = secrets.token_urlsafe(32), new_password()
    url = f"https://{_in_url(names[0])}:{api_port}"
    with InitFiles(folder, owner, replace=replace) as made:
        config, client = made.new("csms.toml"), made.new("csms-client.toml")
        made.use_pki(pki, station=station, contract=contract, hosts=(*names, "localhost", "127.0.0.1", "::1"))
        path = _paths(made)
        access = _filled("csms-client", file=client, url=_text(url), token=_text(token), ca=path("csms/root.pem"))
        made.write(client, access, owned=False)
        made.configure(
            config,
            parse,
            _filled(
                "csms",
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
                password_hash=_text(hash_password(password)),
                sha256=hashlib.sha256(token.encode()).hexdigest(),
                gateway=_text(GATEWAY),
                station=_text(station),
                contract=_text(contract),
            ),
        )
    say(f"{config}: the back end; {client}: the administrator's access")
    say(f"start it:      v2g csms --config {_shown(config)}")
    say(f"look at it:    {url}/ as admin, first password {password}")
    say(f"ask it:        v2g csms --access {_shown(client)} stations")
    say(f"add a charger: v2g secc init FOLDER --pki {_shown(made.pki)} --csms wss://{_in_url(names[0])}:{port}/ocpp")


def secc_init(
    folder: Folder,
    csms: Annotated[
        str | None, typer.Option("--csms", help='wss:// URL of the back end; "" works without one.')
    ] = None,
    station: Station = "",
    contract: Contract = "",
    kind: Annotated[str, typer.Option("--kind", help="dc, or ac.")] = "",
    evse_id: Annotated[str, typer.Option("--evse-id", help="EVSEID sent to vehicles.")] = "DE*V2G*E0000001*1",
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
    replace: Replace = False,
) -> None:
    """Write the configuration of a charger, and its certificates where there are none.

    Examples: `v2g secc init my-charger --csms ""`,
    `v2g secc init /etc/v2g-engine --pki pki --csms wss://csms.example.org:9443/ocpp --interface eth1 --owner v2g-secc`
    """
    from secc.config import load_config
    from v2g.io.runtime.config_files import check_evse_id
    from v2g.io.storage.record_keys import RecordKeys

    status_port = status_port or _free_port(folder)
    url = _asked("URL of the back end (wss://HOST:9443/ocpp), or nothing", "") if csms is None else csms
    kind = kind or _asked("Current: dc or ac", "dc")
    if kind not in ("dc", "ac"):
        raise ConfigError(f"{kind!r} is neither dc nor ac")
    editions = edition or ["20", "2"]
    if unknown := [each for each in editions if each not in ("20", "2", "din")]:
        raise ConfigError(f"{unknown[0]!r} is no edition", hint="20, 2 or din")
    if "din" in editions and kind == "ac":
        raise ConfigError("DIN 70121 has direct current only", hint="leave --edition din out, or --kind dc")
    check_evse_id(evse_id)
    if not url:
        contract = contract or _asked("Contract (EMAID) that may charge", EMAID)
    else:
        station = station or _asked("Identity of this station at the back end", STATION)
    with InitFiles(folder, owner, replace=replace) as made:
        config, token, keys = made.new("secc.toml"), folder / "status.token", folder / "journal.keys"
        hosts = ("localhost", "127.0.0.1")
        made.use_pki(pki, station=station or STATION, contract=contract or EMAID, hosts=hosts)
        path = _paths(made)
        data_dir = made.folder_for(data, "secc")
        medium = f"{data_dir}/medium" if owner else "medium"
        written = _filled(
            "secc",
            file=config,
            data=_text(data_dir),
            journal_keys=_text(keys.name),
            evse_id=_text(evse_id),
            editions=", ".join(map(_text, editions)),
            services="" if kind == "dc" else "services = [5, 1]                       # AC_BPT, AC\n",
            authorization='authorization = ["PnC", "EIM"]\n' if "din" in editions else "",
            link=_link(interface, medium),
            plc=f'\n[link.plc]\nbackend = "raw"\ninterface = {_text(interface)}\n' if interface else "",
            without_tls="true" if "din" in editions else "false",
            chain=path("secc/chain.pem"),
            key=path("secc/leaf.key"),
            ocsp=path("secc/ocsp.der"),
            v2g_root=path("v2g/root.pem"),
            oem_root=path("oem/root.pem"),
            mo_roots=", ".join(path(name) for name in made.both("mo/root.pem")),
            older=_other_chain(path) if "2" in editions else "",
            meter_chain=path("meter/chain.pem"),
            meter_key=path("meter/leaf.key"),
            kind=kind,
            charge_w=power_kw * 1000,
            alone="" if url else f"contracts = [{_text(contract)}]\n",
            status_port=status_port,
            token_file=_text(token.name),
        )
        if url:
            own = made.of_station(station)
            written += _filled(
                "secc-station",
                url=_text(url),
                station=_text(station),
                store=_text(f"{data_dir}/station.sqlite3"),
                ca=path("csms/root.pem"),
                chain=path(f"{own}/chain.pem"),
                key=path(f"{own}/leaf.key"),
            )
        if not token.exists():
            made.write(token, secrets.token_urlsafe(32) + "\n")
        if not keys.exists():
            RecordKeys.rotate(made.stage(keys))
        made.configure(config, load_config, written)
    say(f"{config}: the charger; {token}: the password of its status page, http://127.0.0.1:{status_port}/")
    say(f"{keys}: seals journals and settlements (--keys of v2g settle); keep a copy elsewhere")
    say(f"check it: v2g secc --config {_shown(config)} --check-config")
    say(f"start it: v2g secc --config {_shown(config)} --live")
    if not interface:
        wires = _shown(config.parent / medium)
        say(f"a vehicle for it: v2g evcc init FOLDER --pki {_shown(made.pki)} --medium {wires}")


def evcc_init(
    folder: Folder,
    medium: Annotated[
        Path | None,
        typer.Option("--medium", help="Folder of the simulated wires of a charger; default: of the one beside FOLDER."),
    ] = None,
    pki: Pki = None,
) -> None:
    """Write the configuration of a simulated vehicle with a contract.

    Example: `v2g evcc init my-vehicle --pki my-csms/pki --medium my-charger/medium`
    """
    from evcc.config import load_config
    from secc.config import load_config as load_charger
    from v2g.io.runtime.program import read_config

    if medium is None:
        beside = sorted(folder.absolute().parent.glob("*/secc.toml"))
        if len(beside) != 1:
            why = f"{len(beside)} chargers are beside {folder}"
            raise ConfigError(why, hint="--medium and --pki: the last line of v2g secc init has both")
        charger = load_charger(read_config(beside[0]), name=str(beside[0]))
        if charger.link.medium is None:
            raise ConfigError(f"the charger of {beside[0]} has no simulated wires", hint="--medium and --pki")
        medium, pki = charger.link.medium, pki or charger.tls.v2g_roots[0].parent.parent
    with InitFiles(folder) as made:
        config = made.new("evcc.toml")
        made.use_pki(pki, station=STATION, contract=EMAID, hosts=("localhost", "127.0.0.1"))
        path = _paths(made)
        made.configure(
            config,
            load_config,
            _filled(
                "evcc",
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
    say(f"plug it in: v2g evcc --config {_shown(config)} --live")


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


def _asked(question: str, default: str) -> str:
    """Return the answer of a person at a terminal, else the default."""
    return str(typer.prompt(question, default=default)) if sys.stdin.isatty() else default


def _paths(made: InitFiles) -> Callable[[str], str]:
    """Return paths of certificates as TOML."""
    return lambda name: _text(made.certificate(name))


def _text(value: object) -> str:
    """Return a TOML string."""
    return json.dumps(str(value), ensure_ascii=False)


def _shown(path: Path) -> str:
    """Return a path as a shell reads it."""
    return shlex.quote(str(path))


def _other_chain(path: Callable[[str], str]) -> str:
    """Return the charger's chain for vehicles of ISO 15118-2."""
    files_of = {name: path(f"{OLDER}/secc/{file}") for name, file in _CHAIN_FILES.items()}
    return _filled("secc-other-chain", **files_of)


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _filled(template: str, /, **values: object) -> str:
    """Return a part of a configuration, from `templates`."""
    text = (files("v2g_cli") / "templates" / f"{template}.toml.in").read_text("utf-8")
    return text.format(**values)
