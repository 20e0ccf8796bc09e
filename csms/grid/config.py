"""The keys of `[grid]`: sources of the signal, their priority, and whom a station follows."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec

from csms.grid.rules import PriceBounds, SiteLimits
from v2g.config import Flaw, Port, Seconds
from v2g.energy.grid_fees import GridFees
from v2g.energy.grid_signal import ALL, ConnectionPoint
from v2g.energy.price_feeds import Markup, parse_feed
from v2g.ieee2030_5.functions import FunctionMode
from v2g.ieee2030_5.resources import with_check_digit
from v2g.io.hardware.energy_config import EnergyEebusConfig
from v2g.units import Decimals, micro_of


class OpenAdr(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A VTN of OpenADR 3.1, whose events bring prices, limits and set-points; this end is its VEN."""

    url: Annotated[str, msgspec.Meta(pattern=r"^https?://[^\s]+\Z", max_length=1900)]
    """Base URL of the VTN's API, such as `https://vtn.example/openadr3/3.1.0`; `http:` only on this machine."""
    token_url: Annotated[str, msgspec.Meta(pattern=r"^(|https?://[^\s]+)\Z", max_length=1900)] = ""
    """Where tokens are requested (OAuth 2.0 client credentials); empty is `auth/token` below `url`."""
    client_id: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    """Client ID from the VTN's operator."""
    client_secret_file: Path
    """File (mode 0600) with the client secret."""
    scope: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    """Scopes to request, separated by blanks; empty leaves them to the authorization server."""
    root: Path | None = None
    """CA of the VTN's certificate (PEM); without it those of the system."""
    ven_name: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    """Name of this VEN."""
    programs: tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=128)], ...] = ()
    """Names of the programs to follow; empty: all that the VTN shows."""
    targets: tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=128)], ...] = ()
    """Targets whose events are requested."""
    poll_interval_s: Annotated[float, msgspec.Meta(ge=1, le=86400)] = 30.0
    """Time between requests for events."""
    outage_s: Annotated[int, msgspec.Meta(ge=60, le=86400)] = 900
    """No export from this long after the VTN's last answer."""
    price_horizon_s: Annotated[int, msgspec.Meta(ge=3600, le=7 * 86400)] = 86400
    """How far ahead prices are passed on to stations."""


class PriceFeed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Prices of a market, from a file or by HTTPS: a day ahead, or by the minute."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,40}\Z")]
    """Name of the feed, in events."""
    format: Literal["energy-charts", "entsoe", "caiso", "elexon", "jepx", "grid-signal"]
    """`energy-charts`: JSON of Energy-Charts; `entsoe`: publication document A44 of ENTSO-E; `caiso`: prices of nodes
    (CSV) of CAISO's OASIS, also zipped; `elexon`: market index data (JSON) of Great Britain; `jepx`: spot prices (CSV)
    of Japan; `grid-signal`: a grid signal, whose limits apply as well."""
    series: Annotated[str, msgspec.Meta(max_length=60)] = ""
    """Which prices of a document: the node (`caiso`, required if there are several), the data provider (`elexon`, else
    APXMIDP), the area (`jepx`, such as `tokyo`, else the system price)."""
    file: Path | None = None
    """File, read on change; write a new one and rename it. A feed has either a file or a URL."""
    url: Annotated[str, msgspec.Meta(pattern=r"^(|https?://[^\s]+)\Z", max_length=1900)] = ""
    """URL; `{today}`, `{tomorrow}` (UTC, 2026-11-21), `{today8}`, `{tomorrow8}` (20261121) and `{secret}` are replaced.
    `http:` only on this machine."""
    secret_file: Path | None = None
    """File (mode 0600) with the `{secret}` of the URL."""
    root: Path | None = None
    """CA of the server's certificate (PEM); without it those of the system."""
    poll_interval_s: Annotated[float, msgspec.Meta(ge=1, le=86400)] = 900.0
    """Time between requests, and between looks at a file; longer after errors."""
    stale_after_s: Annotated[int, msgspec.Meta(ge=60, le=7 * 86400)] = 7200
    """Without an answer for so long the feed is reported as stale. Its known prices stay."""
    horizon_s: Annotated[int, msgspec.Meta(ge=3600, le=7 * 86400)] = 172_800
    """How far ahead prices are passed on to stations."""
    import_factor: Annotated[float, msgspec.Meta(ge=0, le=10)] = 1.0
    """Factor from the market's price to what a vehicle pays, such as 1.19 for VAT; not for `grid-signal`."""
    import_surcharge: Annotated[float, msgspec.Meta(ge=-1000, le=1000)] = 0.0
    """Added after the factor, per kWh."""
    export_factor: Annotated[float, msgspec.Meta(ge=0, le=10)] = 1.0
    """Factor from the market's price to what a vehicle receives; not for `grid-signal`."""
    export_surcharge: Annotated[float, msgspec.Meta(ge=-1000, le=1000)] = 0.0
    """Added after the factor, per kWh; negative for fees."""


Lfdi = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Fa-f]{40}\Z")]
Pin = Annotated[int, msgspec.Meta(ge=0, le=999_999)]
RatingW = Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]


class AggregatedDevice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A device of an aggregator at the server: chargers with DER controls of their own."""

    lfdi: Lfdi
    """Its LFDI; usually 32 digits of its own, then the aggregator's enterprise number in 8."""
    chargers: ConnectionPoint
    """Where its chargers are: `{ site = "depot" }`, also with `feeder`, or an EVSE by `station_id` and `evse_id`."""
    connection_point: Annotated[str, msgspec.Meta(max_length=32)] = ""
    """Where they are connected to the grid, such as an NMI."""
    pin: Pin | None = None
    """PIN of its registration."""
    max_charge_w: RatingW = 0
    """What its chargers together can draw, W."""
    max_discharge_w: RatingW = 0
    """What they can feed back, W."""


class Notifications(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a server of IEEE 2030.5 sends notifications to, so that changes apply before the next request. Its
    certificate must be of `root`."""

    url: Annotated[str, msgspec.Meta(pattern=r"^https://[^\s]+\Z", max_length=1000)]
    """How the server reaches us, such as `https://aggregator.example:8443/notify`."""
    host: str = "127.0.0.1"
    """Listen address."""
    port: Port = 8443
    """TCP port; 0 picks a free one."""


class Ieee2030(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A server of IEEE 2030.5, whose DER controls bring limits and set-points; this end is its client."""

    url: Annotated[str, msgspec.Meta(pattern=r"^https?://[^\s]+\Z", max_length=1900)]
    """URL of the server's DeviceCapability, such as `https://utility.example/dcap`; `http:` only on this machine."""
    certificate: Path
    """PEM file of our certificate, then its chain."""
    key: Path
    """PEM file of its key, mode 0600."""
    root: Path | None = None
    """CA of the server's certificate (PEM); without it those of the system."""
    lfdi: Annotated[str, msgspec.Meta(pattern=r"^(|[0-9A-Fa-f]{40})\Z")] = ""
    """LFDI of the end device whose programs are followed; empty is that of `certificate`."""
    check_hostname: bool = True
    """Require the host of `url` in the server's certificate. Certificates of IEEE 2030.5 devices name no host."""
    ccm8: bool = False
    """Offer the standard's cipher suite with CCM-8, too, over TLS 1.2, for servers that have no other."""
    max_charge_w: RatingW = 0
    """Charging power that 100 % of opModFixedW stands for (setMaxChargeRateW), W."""
    max_discharge_w: RatingW = 0
    """Discharging power that 100 % of opModFixedW stands for (setMaxDischargeRateW), W."""
    profile: Literal["csip", "csip-aus"] = "csip"
    """Whose rules the server follows. `csip-aus` (Australia) takes fewer responses, lets a device register itself, and
    may say by `/.well-known/csipaus` where its DeviceCapability is."""
    pin: Pin | None = None
    """PIN of the device's registration, its check digit included: a server with another one is not obeyed."""
    connection_point: Annotated[str, msgspec.Meta(max_length=32)] = ""
    """Where the site is connected to the grid, such as its NMI; announced to servers of Australia."""
    metering: bool = False
    """Send means of power, reactive power and voltages that chargers, and the meter at the grid connection (EVSE 0,
    Upstream), measure, every 300 s or as the server asks."""
    functions: tuple[FunctionMode, ...] = ()
    """Functions of inverters that stations of OCPP 2.1 carry out: they become default DER controls there, which a
    charger applies itself or passes on to vehicles (AC DER). Others have no effect."""
    poll_interval_s: Annotated[float, msgspec.Meta(ge=1, le=86400)] | None = None
    """Time between requests for controls; by default each resource is requested at the rate that the server states."""
    outage_s: Annotated[int, msgspec.Meta(ge=60, le=86400)] = 900
    """No export from this long after the server's last answer; without `poll_interval_s`, after the next one is due."""
    devices: Annotated[tuple[AggregatedDevice, ...], msgspec.Meta(max_length=300)] = ()
    """The aggregator's devices: each has controls, responses and readings of its own, and the device of `lfdi` only
    subscriptions. None by default."""
    notifications: Notifications | None = None
    """A listener for notifications of what is subscribed to; none by default: the server is only polled."""

    def __post_init__(self) -> None:
        """Refuse devices that are two, or at one place, and rates that would ask for every list once a device."""
        for name in ("lfdi", "chargers"):
            if len({str(getattr(each, name)).upper() for each in self.devices}) < len(self.devices):
                raise ValueError(f"devices: two have the same {name}")
        if self.devices and self.poll_interval_s is not None:
            raise ValueError("poll_interval_s: leave it out with devices, which are read at the server's rates")
        if self.notifications is not None and self.root is None:
            raise ValueError("notifications need root, the CA of the server's certificate")


class ControlBox(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A control box of the grid operator that limits the site by EEBUS (LPC, LPP); this end is the site's energy
    manager, and shares the limits out over its chargers."""

    node: EnergyEebusConfig
    """This end as EEBUS node; nominal values are those of the connection's contract. Each node of the back end has a
    folder of its own; a box pairs with one."""
    safe_import_w: RatingW
    """Failsafe limit of import, W, until the box writes another one."""
    safe_export_w: RatingW = 0
    """Failsafe limit of export, W, until the box writes another one."""
    section_14a_devices: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    """Number of controllable devices (§ 14a EnWG) behind the connection: import is bounded to no less than their
    minimum power, 4.2 kW for one; 0: limits hold as they are."""
    dead_man_s: Annotated[float, msgspec.Meta(ge=5, le=3600)] = 60.0
    """The failsafe limits of this configuration apply when the EEBUS part has failed for this long."""
    outage_s: Annotated[int, msgspec.Meta(ge=60, le=86400)] = 900
    """No export from stations that do not hear of the back end for this long."""


ObjectAddress = Annotated[int, msgspec.Meta(ge=1, le=16_777_215)]


class Iec104Points(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Addresses of an outstation's points."""

    remote: ObjectAddress = 1001
    """State: the centre's values are in force."""
    dead_man: ObjectAddress = 1002
    """State: nothing was commanded for `dead_man_s`, and the safe state applies."""
    overflow: ObjectAddress = 1005
    """State: events were lost."""
    connection_power: ObjectAddress = 1101
    """Power at the grid connection by the one meter there that a station reads (EVSE 0, Upstream), kW."""
    voltage: ObjectAddress = 1103
    """Mean voltage of its phases to neutral, V."""
    frequency: ObjectAddress = 1104
    """Its frequency, Hz."""
    charging: ObjectAddress = 1105
    """Charging power of all vehicles together, kW."""
    discharging: ObjectAddress = 1106
    """Power that they feed back together, kW."""
    import_limit: ObjectAddress = 1109
    """Import limit in force, kW."""
    export_limit: ObjectAddress = 1110
    """Export limit in force, kW."""
    imported: ObjectAddress = 1201
    """Counter: energy that this meter has seen drawn, in `counter_wh`."""
    exported: ObjectAddress = 1202
    """Counter: energy that it has seen fed in."""
    enable: ObjectAddress = 2001
    """Switch: off allows no power in either direction."""
    follow_setpoint: ObjectAddress = 2002
    """Switch: off ends the set-point."""
    set_import_limit: ObjectAddress = 2101
    """Import limit, kW."""
    set_export_limit: ObjectAddress = 2102
    """Export limit, kW."""
    set_setpoint: ObjectAddress = 2103
    """Set-point of all vehicles together, kW; negative is export."""
    heartbeat: ObjectAddress = 2104
    """Dead-man time of these values, s; each command begins it anew. Never selected."""

    def __post_init__(self) -> None:
        """Refuse points at one address."""
        if len(set(msgspec.structs.astuple(self))) < len(self.__struct_fields__):
            raise ValueError("two points have one address")


class PointForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the value of a point is coded in 16 bits."""

    form: Literal["scaled", "normalised"]
    """In whole units, or as a fraction from -1 until before 1."""
    unit: Annotated[float, msgspec.Meta(gt=0, le=1_000_000)]
    """What 1, or 1.0 of a fraction, stands for, in the unit of the point, such as 0.1 for steps of 100 W."""


FormedPoint = Literal[
    "connection_power", "voltage", "frequency", "charging", "discharging", "import_limit", "export_limit",
    "set_import_limit", "set_export_limit", "set_setpoint", "heartbeat", "chargers",
]  # fmt: skip


class Iec104(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An outstation of IEC 60870-5-104 for a control centre. Without `certificate` nothing authenticates it: only for
    networks of the operator's own."""

    host: str = "127.0.0.1"
    """Listen address: that of an interface of such a network."""
    port: Port = 2404
    """TCP port; 0 picks a free one. With TLS 19998 is usual."""
    clients: Annotated[tuple[str, ...], msgspec.Meta(max_length=100)] = ("127.0.0.1", "::1")
    """Addresses that may connect."""
    certificate: Path | None = None
    """PEM file of the certificate and its chain, for TLS (IEC 62351-3); none by default."""
    key: Path | None = None
    """PEM file of its key, mode 0600."""
    roots: tuple[Path, ...] = ()
    """PEM files of roots of control centres' certificates; required with `certificate`."""
    common_address: Annotated[int, msgspec.Meta(ge=1, le=65534)] = 1
    """Common address of the site."""
    points: Iec104Points = Iec104Points()
    """Addresses of points."""
    forms: Mapping[FormedPoint, PointForm] = {}
    """Values that are scaled or normalised, by the name of their point, or `chargers`; all others are floats."""
    counter_wh: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 100
    """What 1 of a counter stands for, Wh. Counters have 31 bits and go round; they freeze, and are never set back."""
    chargers: Annotated[tuple[str, ...], msgspec.Meta(max_length=1000)] = ()
    """Stations with points of their own: connected, faulted, and power in kW (positive into vehicles). Those of the
    first are at `first_charger` and the two addresses after it, of each further one 100 addresses later."""
    first_charger: ObjectAddress = 10_101
    """Address of the first station's first point."""
    select_before_operate: bool = True
    """Whether limits, set-point and switches are selected before they are operated."""
    select_s: Annotated[float, msgspec.Meta(ge=1, le=300)] = 20.0
    """How long a selection holds."""
    command_age_s: Annotated[float, msgspec.Meta(ge=1, le=3600)] = 10.0
    """Commands with a time that is further from ours are refused."""
    k: Annotated[int, msgspec.Meta(ge=1, le=32_767)] = 12
    """Frames of ours that may wait for their acknowledgement."""
    w: Annotated[int, msgspec.Meta(ge=1, le=32_767)] = 8
    """Received frames that are acknowledged at the latest."""
    t1_s: Annotated[float, msgspec.Meta(ge=1, le=255)] = 15.0
    """An answer that takes longer ends the connection."""
    t2_s: Annotated[float, msgspec.Meta(ge=0.1, le=254)] = 10.0
    """Time until received frames are acknowledged."""
    t3_s: Annotated[float, msgspec.Meta(ge=1, le=172_800)] = 20.0
    """Silence until the connection is tested."""
    dead_band_kw: Annotated[float, msgspec.Meta(ge=0, le=10_000)] = 0.1
    """Changes of powers and limits up to this are no events."""
    most_events: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10_000
    """Events that wait for a control centre; beyond them the oldest are lost, and `overflow` is set."""
    follow_clock: bool = True
    """Whether time stamps follow a clock that the control centre sets; ours stays."""

    def __post_init__(self) -> None:
        """Refuse TLS that authenticates nobody."""
        if (self.certificate is None) != (self.key is None) or (self.certificate is None) == bool(self.roots):
            raise ValueError("certificate, key and roots belong together")
        if self.t2_s >= self.t1_s:
            raise ValueError("t2_s is less than t1_s")
        last = self.first_charger + 100 * len(self.chargers)
        if self.chargers and (last > 16_777_215 or max(msgspec.structs.astuple(self.points)) >= self.first_charger):
            raise ValueError("first_charger: points of chargers are beyond all others, up to 16777215")
        if len(set(self.chargers)) < len(self.chargers):
            raise ValueError("chargers: a station is listed twice")


class Scada(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Registers over Modbus TCP, by which a SCADA system limits the site. The protocol has no authentication: only for
    networks of the operator's own. With `iec104` it steers by that instead."""

    host: str = "127.0.0.1"
    """Listen address: that of an interface of such a network."""
    port: Port = 502
    """TCP port; 0 picks a free one."""
    dead_man_s: Annotated[float, msgspec.Meta(ge=1, le=86400)] = 60.0
    """The safe state applies when nothing was written for this long."""
    safe_import_w: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]
    """Import limit of the safe state, W."""
    safe_export_w: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 0
    """Export limit of the safe state, W."""
    outage_s: Annotated[int, msgspec.Meta(ge=60, le=86400)] = 900
    """No export from stations that do not hear of the back end for this long."""
    iec104: Iec104 | None = None
    """An outstation of IEC 60870-5-104 in place of the registers; none by default."""


class OfflineLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What stations of OCPP 2.1 may draw while they are without the back end (K01.FR.101), which cannot lower their
    limits then."""

    evse_w: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]
    """Limit of import for each EVSE of a station, W."""
    after_s: Annotated[int, msgspec.Meta(ge=30, le=86400)] = 600
    """It holds once a station is offline for this long, until it is back."""


class Grid(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The grid operator's signal: of a file or HTTP `PUT /grid/signal`, or made from sources (`prices`, `eebus`,
    `scada`, `ieee2030_5`, `openadr`).

    Of several sources the lowest limit applies, and the price or set-point of the first one that has one, in this
    order.
    """

    signal_file: Path | None = None
    """JSON file of the signal, read at start, on change and on SIGHUP; empty: none."""
    poll_interval_s: Seconds = 1.0
    """Interval of checks for a changed file."""
    currency: Annotated[str, msgspec.Meta(pattern=r"^(|[A-Z]{3})\Z")] = ""
    """ISO 4217 code of the prices of sources; those in another currency are not used."""
    least_price: Decimals = "-20"
    """Lowest price per kWh that is accepted, in the currency; a signal or feed with a lower one is refused."""
    most_price: Decimals = "20"
    """Highest price per kWh that is accepted. Currencies of small units need more: JPY about 1000."""
    import_limit_w: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] | None = None
    """Import limit of the site, W, where no source sets a lower one; required with sources."""
    export_limit_w: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 0
    """Export limit of the site, W, where no source sets a lower one."""
    connection_point: ConnectionPoint = ALL
    """Where these limits, and limits and set-points of sources, hold: `{ site = "depot" }`, also with `feeder`, or an
    EVSE by `station_id` and `evse_id`; by default all stations together."""
    retry_interval_s: Seconds = 30.0
    """After this time a station that did not accept a signal is sent it again."""
    offline: OfflineLimit | None = None
    """A lower limit of stations that are offline; by default they keep their last ones."""
    eebus: ControlBox | None = None
    """A control box of EEBUS as a source; none by default."""
    scada: Scada | None = None
    """Registers for a SCADA system as a source; none by default."""
    ieee2030_5: Ieee2030 | None = None
    """A server of IEEE 2030.5 as a source; none by default."""
    prequalified_only: bool = True
    """Export only from stations with a valid prequalification record; false where the grid operator demands none. A
    station that has records is bound by them in any case."""
    openadr: OpenAdr | None = None
    """A VTN of OpenADR 3.1 as a source; none by default."""
    prices: tuple[PriceFeed, ...] = ()
    """Price feeds as sources; the first one that has a price counts."""
    fees: GridFees | None = None
    """Time-variable fees of the grid operator (§ 14a EnWG, module 3), on top of prices of sources; none by default."""

    @property
    def price_bounds(self) -> PriceBounds:
        """The prices that are accepted."""
        return PriceBounds(least=micro_of(self.least_price), most=micro_of(self.most_price))

    @property
    def site(self) -> SiteLimits | None:
        """The site's own limits and its sources; None without sources."""
        sources = [price_source(feed.name) for feed in self.prices]
        if self.eebus is not None:
            sources.append(EEBUS)
        if self.scada is not None:
            sources.append(SCADA)
        if self.ieee2030_5 is not None:
            sources += (der_source(each.lfdi) for each in self.ieee2030_5.devices)
            sources += () if self.ieee2030_5.devices else (IEEE_2030_5,)
        if self.openadr is not None:
            sources.append(openadr_source(self.openadr.ven_name))
        if not sources:
            return None
        return SiteLimits(
            currency=self.currency or "EUR",  # required with sources, by `look`
            import_limit_w=self.import_limit_w or 0,
            export_limit_w=self.export_limit_w,
            connection_point=self.connection_point,
            fees=self.fees,
            sources=tuple(sources),
        )


EEBUS: Final = "eebus"
"""The source of a control box."""
SCADA: Final = "scada"
"""The source of registers for a SCADA system."""


IEEE_2030_5: Final = "ieee2030.5"
"""The source of an IEEE 2030.5 server."""


def der_source(lfdi: str) -> str:
    """Return the source of an aggregator's device."""
    return f"{IEEE_2030_5}:{lfdi.upper()}"


def price_source(name: str) -> str:
    """Return the source of a price feed."""
    return f"prices:{name}"


def openadr_source(ven_name: str) -> str:
    return f"openadr:{ven_name}"[:64]


def check_prices(feed: PriceFeed) -> None:
    assert feed.file is not None
    parse_feed(feed.file.read_bytes(), feed.format, Markup(), feed.series)


def look_at_grid(grid: Grid) -> Iterator[Flaw]:
    vtn = grid.openadr
    for key, url in (("url", vtn.url), ("token_url", vtn.token_url)) if vtn is not None else ():
        if not _is_private(url):
            yield ("grid", "openadr", key), "would send the client secret without encryption", "use https://"
    der = grid.ieee2030_5
    pins = () if der is None else (der.pin, *(each.pin for each in der.devices))
    for number, pin in enumerate(pins):
        if pin is not None and with_check_digit(pin // 10) != pin:
            place = ("devices", str(number - 1), "pin") if number else ("pin",)
            yield ("grid", "ieee2030_5", *place), "has a wrong check digit", "the sum of its digits is a multiple of 10"
    if der is not None and not _is_private(der.url):
        yield ("grid", "ieee2030_5", "url"), "would follow controls without encryption", "use https://"
    if grid.site is not None:
        if not grid.currency:
            yield ("grid", "currency"), "is missing: the sources need it", 'currency = "EUR"'
        if grid.import_limit_w is None:
            yield ("grid", "import_limit_w"), "is missing: the sources need it", "the site's import limit, W"
        if grid.signal_file is not None:
            hint = 'read the file by a price feed of format = "grid-signal" instead'
            yield ("grid", "signal_file"), "excludes sources such as prices and openadr", hint
    if (fees := grid.fees) is not None:
        if grid.site is None:
            yield ("grid", "fees"), "needs a source of prices to add to", "such as [[grid.prices]]"
        if max(micro_of(each) for each in (fees.high, fees.standard, fees.low)) > grid.price_bounds.most:
            yield ("grid", "fees"), "has a fee above grid.most_price", "fees are per kWh"
    for number, feed in enumerate(grid.prices):
        place = ("grid", "prices", str(number))
        if (feed.file is None) == (not feed.url):
            yield place, "must have either file or url", "set one of them"
        if not _is_private(feed.url):
            yield (*place, "url"), "would read prices without encryption", "use https://"
        if ("{secret}" in feed.url) != (feed.secret_file is not None):
            yield (*place, "secret_file"), "and {secret} in url belong together", "set both, or none"
        plain = (feed.import_factor, feed.import_surcharge, feed.export_factor, feed.export_surcharge)
        if feed.format == "grid-signal" and plain != (1, 0, 1, 0):
            yield place, "has prices of both directions: factors and surcharges do not apply", "remove them"


def _is_private(url: str) -> bool:
    """Return whether others cannot read what is sent: TLS, or this machine."""
    parts = urlsplit(url)
    return parts.scheme != "http" or parts.hostname in ("127.0.0.1", "::1", "localhost")
