"""Resources of IEEE 2030.5-2018 that a DER client reads, as XML (schema `sep.xsd`), with CSIP-AUS limits.

Unknown elements are ignored, and namespaces are not compared: CSIP-AUS changes its own with each version. Times are
seconds since 1970 in UTC.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping
from typing import Final, Self, TypeVar

import msgspec

from v2g import typed_json
from v2g.energy.limits import MOST_W
from v2g.errors import CodecError
from v2g.ieee2030_5.functions import FunctionMode, InverterFunction, functions_in
from v2g.xml_text import Node, child, children, local_name, read_xml, text_at, truth_at, whole, whole_at

MAX_BYTES: Final = 1_000_000
"""Maximum length of a resource."""
CONTENT_TYPE: Final = "application/sep+xml"
ACCEPT: Final = f"{CONTENT_TYPE}, application/xml;q=0.9"

EXTENSIONS: Final = ("https://csipaus.org/ns/v1.3", "https://csipaus.org/ns")
"""Namespaces of CSIP-AUS, newest first; the last is that of versions 1.1 and 1.2."""

_OURS: Final = sum(1 << bit for bit in (14, 16, 17, 18, 23, 25))
"""Bits of deviceCategory for what chargers are part of: energy management, vehicle, EVSE, mixed DER, storage."""
_MOST_TIME: Final = 2**40
_MOST_DURATION: Final = 2**32 - 1
_MOST_RANDOM: Final = 3600

T = TypeVar("T")


class ControlBase(msgspec.Struct, frozen=True, kw_only=True):
    """What a control demands; None: nothing. `others`: names of modes that have no effect here.

    Limits in W: of export and import at the site's connection, of generation and load by the devices alone.
    `most_generation` and `fixed` (opModMaxLimW, opModFixedW): hundredths of a per cent. Set-points are positive for
    discharge: `fixed`, `target_w`, and `storage_target_w` (its sign is inferred, K); `ramp` is the time to reach one
    (rampTms, hundredths of a second), and no mode. `curves`: paths of functions that are yet to be read.
    """

    export_limit_w: int | None = None
    import_limit_w: int | None = None
    generation_limit_w: int | None = None
    load_limit_w: int | None = None
    most_generation: int | None = None
    fixed: int | None = None
    storage_target_w: int | None = None
    target_w: int | None = None
    connect: bool | None = None
    energize: bool | None = None
    ramp: int | None = None
    others: tuple[str, ...] = ()
    functions: Mapping[FunctionMode, InverterFunction] = {}
    curves: Mapping[FunctionMode, str] = {}

    @property
    def demands(self) -> Mapping[str, int | bool | InverterFunction]:
        """The demands that it has, of those that have an effect, by name."""
        values = {name: getattr(self, name) for name in _MODES}
        return {name: value for name, value in values.items() if value is not None} | dict(self.functions)

    @property
    def modes(self) -> frozenset[str]:
        """The names of these."""
        return frozenset(self.demands)

    @classmethod
    def of(cls, demands: Mapping[str, object]) -> Self:
        """Return a base with these demands."""
        plain = {name: value for name, value in demands.items() if name in _MODES}
        functions = {name: value for name, value in demands.items() if name not in _MODES}
        return cls(**plain, functions=functions)  # type: ignore[arg-type] # `demands` is where they are from


_TAGS: Final[Mapping[str, str]] = {
    "export_limit_w": "opModExpLimW",
    "import_limit_w": "opModImpLimW",
    "generation_limit_w": "opModGenLimW",
    "load_limit_w": "opModLoadLimW",
    "most_generation": "opModMaxLimW",
    "fixed": "opModFixedW",
    "storage_target_w": "opModStorageTargetW",
    "target_w": "opModTargetW",
    "connect": "opModConnect",
    "energize": "opModEnergize",
}
_MODES: Final = frozenset(_TAGS)


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """A DERControl: an event. `status` is that of the server, since `status_s`. `for_us`: its deviceCategory names
    none, or what chargers are part of."""

    mrid: str
    base: ControlBase
    start_s: int
    duration_s: int
    creation_s: int
    status: int = 0
    status_s: int = 0
    randomize_start_s: int = 0
    randomize_duration_s: int = 0
    reply_to: str = ""
    response_required: int = 0
    for_us: bool = True

    @property
    def end_s(self) -> int:
        """Its end without random shifts."""
        return self.start_s + self.duration_s


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """A DERProgram; a lower `primacy` comes first. Paths are empty where there is no such resource."""

    mrid: str
    primacy: int
    controls_path: str
    default_path: str


class EndDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A device of the server, and the paths of what belongs to it. `extension`: namespace of CSIP-AUS elements there;
    `post_rate_s`: how often it is to report (0: not said). One that is not `enabled` has no programs."""

    lfdi: str
    assignments_path: str
    ders_path: str
    sfdi: int = 0
    registration_path: str = ""
    connection_point_path: str = ""
    subscriptions_path: str = ""
    log_path: str = ""
    extension: str = ""
    enabled: bool = True
    post_rate_s: int = 0


class ServerSubscription(msgspec.Struct, frozen=True):
    """A Subscription of the server: its path, what it is of, and where notifications are sent to."""

    path: str
    resource: str
    notification_uri: str


class ServerNotification(msgspec.Struct, frozen=True):
    """A Notification: its resource, as the server has written it, and whether the subscription to it has ended."""

    resource: str
    cancelled: bool


class Page(msgspec.Struct, frozen=True):
    """One page of a list: the number of all items, those of this page, the list's poll rate (s), and how it can be
    subscribed to (1 and 3: without condition)."""

    all: int
    items: tuple[Node, ...]
    poll_rate_s: int | None = None
    subscribable: str = ""


class _WellKnown(msgspec.Struct, frozen=True):
    supported_schema_versions: dict[str, object] = msgspec.field(name="supportedSchemaVersions")


def with_check_digit(number: int) -> int:
    """Return a number with the digit that makes the sum of its digits a multiple of ten: 11111 is PIN 111115."""
    return number * 10 + -sum(map(int, str(number))) % 10


def sfdi_of(lfdi: str) -> int:
    """Return the short-form device identifier of an LFDI: its first 36 bits with a check digit."""
    return with_check_digit(int(lfdi[:9], 16))


def lfdi_of(certificate: bytes) -> str:
    """Return the long-form device identifier of a certificate (DER): 160 bits of its SHA-256, as hex."""
    return hashlib.sha256(certificate).hexdigest()[:40].upper()


def read_resource(data: bytes, name: str) -> Node:
    """Return a resource of that name. Raises CodecError."""
    root = read_xml(data, name, most_bytes=MAX_BYTES)
    if local_name(root) != name:
        raise CodecError(f"{name}: the server answers with {local_name(root)[:60]!r}")
    return root


def read_page(data: bytes, name: str) -> Page:
    """Return a page of the list of resources of a name. Raises CodecError."""
    root = read_resource(data, f"{name}List")
    count, kinds = whole(root.get("all") or "0", "all", 0, 2**32 - 1), root.get("subscribable") or ""
    return Page(count, tuple(children(root, name)), poll_rate_of(root), kinds)


def poll_rate_of(node: Node) -> int | None:
    """Return how often a resource is to be requested (s); None if it does not say. Raises CodecError."""
    return whole(node.get("pollRate") or "0", "pollRate", 0, _MOST_DURATION) or None


def readable(nodes: tuple[Node, ...], read: Callable[[Node], T]) -> tuple[tuple[T, ...], tuple[str, ...]]:
    """Return the items of a list, and what is wrong with those that cannot be read."""
    found: list[T] = []
    problems: list[str] = []
    for node in nodes:
        try:
            found.append(read(node))
        except CodecError as error:
            problems.append(str(error))
    return tuple(found), tuple(problems)


def link(node: Node, name: str) -> str:
    """Return the path of a link; empty without one. Raises CodecError for a path to another server."""
    found = child(node, name)
    path = "" if found is None else (found.get("href") or "").strip()
    if path and (not path.startswith("/") or path.startswith("//") or len(path) > 1000):
        raise CodecError(f"{name}: {path[:80]!r} is not a path on the server")
    return path


def end_device_of(node: Node) -> EndDevice:
    """Return an EndDevice. Raises CodecError."""
    return EndDevice(
        lfdi=text_at(node, "lFDI").upper()[:40],
        sfdi=whole_at(node, "sFDI", 0, 10**12, 0),
        assignments_path=link(node, "FunctionSetAssignmentsListLink"),
        ders_path=link(node, "DERListLink"),
        registration_path=link(node, "RegistrationLink"),
        connection_point_path=link(node, "ConnectionPointLink"),
        subscriptions_path=link(node, "SubscriptionListLink"),
        log_path=link(node, "LogEventListLink"),
        extension="" if (point := child(node, "ConnectionPointLink")) is None else point.tag[1:].rpartition("}")[0],
        enabled=truth_at(node, "enabled") is not False,
        post_rate_s=whole_at(node, "postRate", 0, _MOST_DURATION, 0),
    )


def pin_of(node: Node) -> int:
    """Return the PIN of a Registration. Raises CodecError."""
    return whole_at(node, "pIN", 0, 999_999)


def post_rate_of(node: Node) -> int:
    """Return how often readings of a MirrorUsagePoint are wanted (s); 0: not said. Raises CodecError."""
    return whole_at(node, "postRate", 0, _MOST_DURATION, 0)


def capability_path(data: bytes) -> str:
    """Return where `/.well-known/csipaus` says that the DeviceCapability of the newest known version is.

    Raises CodecError without one (CSIP-AUS v1.3).
    """
    try:
        versions = typed_json.decode(data, _WellKnown).supported_schema_versions
    except msgspec.DecodeError as error:
        raise CodecError(f"/.well-known/csipaus: {error}") from None
    for namespace in EXTENSIONS:
        places = versions.get(namespace)
        paths = places.get("dcap") if isinstance(places, dict) else None
        for path in paths if isinstance(paths, list) else ():
            if isinstance(path, str) and path.startswith("/") and not path.startswith("//") and len(path) < 1000:
                return path
    raise CodecError("/.well-known/csipaus names no version that is known here", hint=f"known: {', '.join(EXTENSIONS)}")


def subscription_of(node: Node) -> ServerSubscription:
    """Return a Subscription; links in its text are as the server has written them."""
    texts = (text_at(node, name)[:2000] for name in ("subscribedResource", "notificationURI"))
    return ServerSubscription((node.get("href") or "").strip(), *texts)


def notified_of(data: bytes) -> ServerNotification:
    """Return what a Notification says. Raises CodecError.

    What it brings is not used: the resource is requested again.
    """
    node = read_resource(data, "Notification")
    resource = text_at(node, "subscribedResource")
    if not 0 < len(resource) <= 1000:
        raise CodecError(f"Notification: subscribedResource has {len(resource)} characters, not 1 to 1000")
    return ServerNotification(resource, text_at(node, "status") not in ("", "0"))


def program_of(node: Node) -> Program:
    """Return a DERProgram. Raises CodecError."""
    return Program(
        mrid=_mrid(node),
        primacy=whole_at(node, "primacy", 0, 255),
        controls_path=link(node, "DERControlListLink"),
        default_path=link(node, "DefaultDERControlLink"),
    )


def control_of(node: Node, functions: Collection[FunctionMode] = ()) -> Control:
    """Return a DERControl; of inverters' functions only these. Raises CodecError."""
    mrid = _mrid(node)
    reply_to = (node.get("replyTo") or "").strip()
    if len(reply_to) > 1000:
        raise CodecError(f"DERControl {mrid}: replyTo has more than 1000 characters")
    required = node.get("responseRequired") or "00"
    if len(required) > 2 or any(digit not in "0123456789abcdefABCDEF" for digit in required):
        raise CodecError(f"DERControl {mrid}: responseRequired {required[:20]!r} is not a hexadecimal byte")
    random = -_MOST_RANDOM, _MOST_RANDOM
    base = child(node, "DERControlBase")
    if base is None:
        raise CodecError(f"DERControl {mrid} has no DERControlBase")
    try:
        categories = int(text_at(node, "deviceCategory")[:20] or "0", 16)
    except ValueError:
        raise CodecError(f"DERControl {mrid}: deviceCategory is not hexadecimal") from None
    return Control(
        mrid=mrid,
        base=base_of(base, functions),
        start_s=whole(text_at(node, "interval", "start"), "start", 0, _MOST_TIME),
        duration_s=whole(text_at(node, "interval", "duration"), "duration", 0, _MOST_DURATION),
        creation_s=whole_at(node, "creationTime", 0, _MOST_TIME, 0),
        status=whole(text_at(node, "EventStatus", "currentStatus") or "0", "currentStatus", 0, 255),
        status_s=whole(text_at(node, "EventStatus", "dateTime") or "0", "dateTime", 0, _MOST_TIME),
        randomize_start_s=whole_at(node, "randomizeStart", *random, 0),
        randomize_duration_s=whole_at(node, "randomizeDuration", *random, 0),
        reply_to=reply_to,
        response_required=int(required, 16),
        for_us=categories == 0 or bool(categories & _OURS),
    )


def default_of(node: Node, functions: Collection[FunctionMode] = ()) -> ControlBase:
    """Return what a DefaultDERControl demands, as `control_of`. Raises CodecError."""
    base = child(node, "DERControlBase")
    return ControlBase() if base is None else base_of(base, functions)


def gradient_of(node: Node) -> int:
    """Return setGradW of a DefaultDERControl: hundredths of a per cent of the rating in a second; 0: none (K).

    Raises CodecError.
    """
    return whole_at(node, "setGradW", 0, 2**16 - 1, 0)


def base_of(node: Node, functions: Collection[FunctionMode] = ()) -> ControlBase:
    """Return a DERControlBase; of inverters' functions only these. Raises CodecError."""
    known = {*_TAGS.values(), *(f"opMod{each}" for each in functions)}
    found, curves = functions_in(node, functions)
    others = sorted({name for each in node if (name := local_name(each)).startswith("opMod") and name not in known})
    limits = ("export_limit_w", "import_limit_w", "generation_limit_w", "load_limit_w")
    return ControlBase(
        **{name: _watts(node, _TAGS[name], 0) for name in limits},
        **{name: _watts(node, _TAGS[name], -MOST_W) for name in ("storage_target_w", "target_w")},
        most_generation=_hundredths(node, "opModMaxLimW", 0),
        fixed=_hundredths(node, "opModFixedW", -10_000),
        connect=truth_at(node, "opModConnect"),
        energize=truth_at(node, "opModEnergize"),
        ramp=whole(ramp, "rampTms", 0, 2**16 - 1) if (ramp := text_at(node, "rampTms")) else None,
        others=tuple(name[:40] for name in others[:30]),
        functions=found,
        curves=curves,
    )


def current_time_of(node: Node) -> int:
    """Return the server's time (s). Raises CodecError."""
    return whole_at(node, "currentTime", 0, _MOST_TIME)


def _mrid(node: Node) -> str:
    mrid = text_at(node, "mRID").upper()
    if not 1 <= len(mrid) <= 64 or not mrid.isascii() or not mrid.isalnum():
        raise CodecError(f"{local_name(node)[:40]} has no usable mRID: {mrid[:40]!r}")
    return mrid


def _hundredths(node: Node, name: str, least: int) -> int | None:
    text = text_at(node, name)
    return whole(text, name, least, 10_000) if text else None


def _watts(node: Node, name: str, least_w: int) -> int | None:
    """Return an ActivePower: value times ten to the power of multiplier, from `least_w` to `MOST_W`."""
    found = child(node, name)
    if found is None:
        return None
    value = whole(text_at(found, "value"), f"{name}/value", -(2**15), 2**15 - 1)
    multiplier = whole(text_at(found, "multiplier") or "0", f"{name}/multiplier", -9, 9)
    watts = value * 10**multiplier if multiplier >= 0 else value // 10**-multiplier
    return int(max(least_w, min(MOST_W, watts)))
