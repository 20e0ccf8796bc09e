"""Options of conformance tests, by what they are about."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from v2g.iso15118.d20.charts import Family
from v2g.iso15118.engine import sdp
from v2g_cli.options import seen_by_others
from v2g_testkit.cases.editions import Edition

JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON record per case, then the totals.")]
CheckFlag = Annotated[
    bool, typer.Option("--check", help="Check the declaration, say which cases it rules out and why, and exit.")
]
PasswordOption = Annotated[
    str | None,
    typer.Option(
        "--password", envvar="V2G_STATION_PASSWORD", callback=seen_by_others, help="The station's basic password."
    ),
]


class Selection(msgspec.Struct, frozen=True):
    """Which cases, and whether they are only listed."""

    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", metavar="ID", help="Only cases with these parts of an id (TIM-DC); * is any text; repeatable."
        ),
    ] = None
    skip: Annotated[
        list[str] | None,
        typer.Option("--skip", metavar="ID", help="Leave these cases out, as --only names them; repeatable."),
    ] = None
    quick: Annotated[bool, typer.Option("--quick", help="Run one case of each kind instead of all.")] = False
    listed: Annotated[bool, typer.Option("--list", help="List the cases and exit.")] = False


class Reports(msgspec.Struct, frozen=True):
    """What is written of a run, and the records of an earlier one."""

    device: Annotated[
        str,
        typer.Option("--device", metavar="TEXT", help="Device under test, for reports: make, model, serial number."),
    ] = ""
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="FILE", help="Records of an earlier run (--json) whose results count."),
    ] = None
    json: JsonFlag = False
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML for build servers.")
    ] = None
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FOLDER", help="Folder for an HTML report: results, and the messages of each case."
        ),
    ] = None

    def of(self, name: str) -> "Reports":
        """Return the reports of one of several devices: files and folders with its name."""
        if not name:
            return self
        junit, html = self.junit, self.html
        return msgspec.structs.replace(
            self,
            junit=None if junit is None else junit.with_name(f"{junit.stem}-{name}{junit.suffix}"),
            html=None if html is None else html / name,
        )


class Link(msgspec.Struct, frozen=True):
    """Where devices of ISO 15118 are, and what is tested of them."""

    interface: Annotated[
        str, typer.Option("--interface", "-i", help="Network interface of the link; lo on one machine.")
    ] = "lo"
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            metavar="NAME=INTERFACE[:PORT]",
            help="Test several devices at once, each with reports of its own; repeatable, or @FILE with one in each "
            "line.",
        ),
    ] = None
    parallel: Annotated[int, typer.Option("--parallel", min=1, max=64, help="Devices tested at the same time.")] = 4
    edition: Annotated[Edition, typer.Option("--edition", help="Edition of the protocol to test.")] = Edition.ISO20
    energy: Annotated[Family, typer.Option("--energy", help="Energy transfer mode to test.")] = Family.DC
    pki: Annotated[
        Path | None,
        typer.Option("--pki", metavar="FOLDER", help="PKI folder (`v2g pki make`) whose roots the device trusts."),
    ] = None
    sdp_port: Annotated[int, typer.Option(help="UDP port of SDP.")] = sdp.PORT
    profile: Annotated[str, typer.Option(help="iso15118-20, or interop for peers with P-256.")] = "iso15118-20"
    without_tls: Annotated[
        bool, typer.Option("--without-tls", help="Use plain TCP: with interop in edition 20; always in DIN 70121.")
    ] = False

    @property
    def plain(self) -> bool:
        """Whether there is no TLS: DIN 70121 never has it."""
        return self.without_tls or self.edition is Edition.DIN


class Certificates(msgspec.Struct, frozen=True):
    """What a vehicle has where no `--pki` gives it."""

    vehicle_chain: Annotated[Path | None, typer.Option(help="PEM chain that the vehicle presents in TLS.")] = None
    vehicle_key: Annotated[Path | None, typer.Option(help="Its key, mode 0600.")] = None
    root: Annotated[list[Path] | None, typer.Option(help="V2G root (PEM) of the charger's chain; repeatable.")] = None
    contract_chain: Annotated[Path | None, typer.Option(help="PEM chain of a contract.")] = None
    contract_key: Annotated[Path | None, typer.Option(help="Its key, mode 0600.")] = None
    provisioning_chain: Annotated[Path | None, typer.Option(help="PEM chain of the vehicle's provisioning.")] = None
    provisioning_key: Annotated[Path | None, typer.Option(help="Its key, mode 0600.")] = None


class Vehicle(msgspec.Struct, frozen=True):
    """How the vehicle behaves that tests a charger, and what is done at the charger."""

    pilot: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="Command that sets the control pilot; {state} becomes B or C.")
    ] = None
    stop: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="Command that ends the session at the charger.")
    ] = None
    pay: Annotated[str, typer.Option(metavar="EIM|PnC", help="Authorisation method where a case does not fix one.")] = (
        ""
    )
    voltage: Annotated[float, typer.Option(min=50, max=1500, help="Voltage that the vehicle requests, V.")] = 400.0
    current: Annotated[float, typer.Option(min=0, max=100, help="Current that the vehicle draws, A.")] = 5.0
    phases: Annotated[int, typer.Option(min=1, max=3, help="Phases of an AC vehicle.")] = 3
    without_power: Annotated[
        bool, typer.Option("--without-power", help="The charger has no power electronics and always reports 0 V.")
    ] = False


class OcppRun(msgspec.Struct, frozen=True):
    """A run of the OCPP cases."""

    prompt: Annotated[bool, typer.Option("--prompt", help="Ask for these steps at the terminal.")] = False
    profile: Annotated[
        list[str] | None, typer.Option("--profile", help="Only cases of a certification profile; repeatable.")
    ] = None
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds",
            metavar="S",
            min=0.1,
            max=600,
            help="How long the device may take to react where OCPP sets no limit; default: as declared (30).",
        ),
    ] = None
    check: CheckFlag = False
    frames: Annotated[
        Path | None, typer.Option("--frames", metavar="FILE", help="Append each frame to FILE as a JSON line, at once.")
    ] = None


class BackEnd(msgspec.Struct, frozen=True):
    """The back end under test, and as which station."""

    url: Annotated[
        str, typer.Option("--url", help="Where stations connect, without the identity: wss://HOST:PORT/ocpp.")
    ] = ""
    identity: Annotated[str, typer.Option("--identity", help="Identity of a station that the back end knows.")] = ""
    password: PasswordOption = None
    ca: Annotated[Path | None, typer.Option("--ca", help="PEM root of the back end's certificate.")] = None
    chain: Annotated[Path | None, typer.Option("--cert", help="PEM chain of the station: security profile 3.")] = None
    key: Annotated[Path | None, typer.Option("--key", help="Its key, mode 0600.")] = None


class Listener(msgspec.Struct, frozen=True):
    """Where the station under test connects, and how."""

    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Where the station connects; port 0 chooses one.")
    ] = "127.0.0.1:9000"
    path: Annotated[str, typer.Option("--path", help="Path before the station's identity.")] = "/ocpp"
    identity: Annotated[str, typer.Option("--identity", help="The only identity admitted; default: any.")] = ""
    password: PasswordOption = None
    chain: Annotated[Path | None, typer.Option("--cert", help="PEM chain of the back end: TLS.")] = None
    key: Annotated[Path | None, typer.Option("--key", help="Its key, mode 0600.")] = None
    ca: Annotated[
        Path | None, typer.Option("--ca", help="PEM root of the station's certificate: security profile 3.")
    ] = None
    ca_key: Annotated[
        Path | None,
        typer.Option("--ca-key", help="Key of that root, mode 0600: signs new certificates of the station."),
    ] = None
    file_port: Annotated[
        int,
        typer.Option("--file-port", min=0, max=65535, help="Where firmware and logs are transferred; 0 chooses one."),
    ] = 0
    wait: Annotated[float, typer.Option("--wait", min=1, max=3600, help="Seconds to wait for the station.")] = 120.0
