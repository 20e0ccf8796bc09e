"""What a grid source states at its own connection point, which prices are believed, and how long a signal goes on."""

from collections.abc import Sequence

import msgspec

from csms.grid.rules import SITE, WIDE, PriceBounds, SiteLimits, SourceSignal, combine, governing
from tests.together import together
from v2g.energy.grid_signal import ConnectionPoint, GridLimit, GridSignal, SignalSlot

HOUR_MS = 3_600_000
NOW_MS = 490_000 * HOUR_MS
OWN = SiteLimits(currency="EUR", import_limit_w=100, export_limit_w=40, sources=("a", "b", "c"))
DEPOT = ConnectionPoint(site="depot")


def slot(start_ms: int, duration_s: int, import_price: int, export: int = 0) -> SignalSlot:
    return SignalSlot(start_ms=start_ms, duration_s=duration_s, import_price=import_price, export_compensation=export)


@together(
    ("price", "export", "refused"),
    [
        (-20_000_000, 20_000_000, ""),
        (20_000_000, -20_000_000, ""),
        (-20_000_001, 0, "-20.000001"),
        (20_000_001, 0, "20.000001"),
        (0, -20_000_001, "-20.000001"),
        (0, 20_000_001, "20.000001"),
    ],
)
def test_a_price_beyond_what_is_accepted_is_named(price: int, export: int, refused: str) -> None:
    within = " per kWh is not within grid.least_price and grid.most_price, -20.00 to 20.00"
    assert WIDE.refusal([slot(0, 1, 1), slot(1, 1, price, export)]) == (refused and f"the price {refused}{within}")
    assert PriceBounds(least=0, most=0).refusal([]) == ""


def test_a_source_states_only_what_it_says() -> None:
    assert SourceSignal(source="a") == SourceSignal(
        source="a", slots=(), import_limit_w=None, export_limit_w=None, export_until_ms=None, setpoint_w=None,
        setpoint_until_ms=0, problem="", emergency_until_ms=0, connection_point=None,
    )  # fmt: skip
    assert SITE == "site"


def test_limits_at_a_place_of_its_own_do_not_hold_at_the_site() -> None:
    at_depot = SourceSignal(source="a", import_limit_w=9, export_limit_w=8, connection_point=DEPOT)
    wide = SourceSignal(source="b", import_limit_w=90, export_limit_w=30)
    ways = {
        "import": GridLimit(connection_point=DEPOT, direction="import", limit_w=9, source="a"),
        "export": GridLimit(connection_point=DEPOT, direction="export", limit_w=8, source="a"),
    }
    assert at_depot.own_limits(NOW_MS) == (ways["import"], ways["export"])
    assert wide.own_limits(NOW_MS) == ()
    assert msgspec.structs.replace(at_depot, import_limit_w=None).own_limits(NOW_MS) == (ways["export"],)
    for until_ms, limit_w in ((NOW_MS, 0), (NOW_MS - 1, 0), (NOW_MS + 1, 8)):
        (_, export) = msgspec.structs.replace(at_depot, export_until_ms=until_ms).own_limits(NOW_MS)
        assert export == msgspec.structs.replace(ways["export"], limit_w=limit_w)
    found = combine(OWN, (at_depot, wide), None, NOW_MS)
    assert found is not None
    assert (found.site_import_limit_w, found.export_limit_w) == (90, 30)
    assert found.limits == (ways["import"], ways["export"])
    assert (found.source, found.currency, found.version) == ("a,b", "EUR", 0)
    by = governing(OWN, (at_depot, wide), NOW_MS)
    assert (by.import_source, by.export_source) == ("b", "b")
    by = governing(OWN, (at_depot,), NOW_MS)
    assert (by.import_source, by.export_source) == (SITE, SITE)


def test_of_equal_limits_the_first_one_governs() -> None:
    """The site's own before those of sources."""
    one, two = (SourceSignal(source=name, import_limit_w=7, export_limit_w=7) for name in "ab")
    assert governing(OWN, (one, two), NOW_MS).import_source == "a"
    assert governing(OWN, (two, one), NOW_MS).export_source == "b"
    same = SourceSignal(source="a", import_limit_w=100, export_limit_w=40)
    by = governing(OWN, (same,), NOW_MS)
    assert (by.import_source, by.export_source) == (SITE, SITE)
    lower = SourceSignal(source="a", export_until_ms=NOW_MS + 1, export_limit_w=39)
    assert governing(OWN, (lower,), NOW_MS).export_source == "a"
    zero = SourceSignal(source="a", export_limit_w=0)
    ended = SourceSignal(source="b", export_until_ms=NOW_MS, export_limit_w=30)
    assert governing(OWN, (zero, ended), NOW_MS).export_source == "a"
    assert governing(OWN, (ended, zero), NOW_MS).export_source == "b"
    assert governing(OWN, (SourceSignal(source="a", export_until_ms=NOW_MS + 1),), NOW_MS).export_source == SITE


@together(
    ("safe", "written", "problem", "limits", "said"),
    [
        ((10, 20), (None, None), "", (10, 20), "silence: the safe state applies"),
        ((10, 20), (10, 20), "", (10, 20), "silence: the safe state applies"),
        ((10, 20), (30, 30), "", (10, 20), "silence: the safe state applies"),
        ((10, 20), (9, None), "", (9, 20), "silence: a lower written limit stays"),
        ((10, 20), (30, 0), "", (10, 0), "silence: a lower written limit stays"),
        ((10, 20), (9, 5), "lost: the safe state applies", (10, 20), "silence: the safe state applies"),
        ((10, 20), (9, 5), "lost: a lower written limit stays", (9, 5), "silence: a lower written limit stays"),
    ],
)
def test_what_replaces_a_lost_source_is_never_above_what_it_wrote(
    safe: tuple[int, int], written: tuple[int | None, int | None], problem: str, limits: tuple[int, int], said: str
) -> None:
    before = SourceSignal(
        source="a", slots=(slot(0, 1, 1),), import_limit_w=written[0], export_limit_w=written[1], problem=problem,
        setpoint_w=5, export_until_ms=9, connection_point=DEPOT,
    )  # fmt: skip
    assert before.abandoned(safe, "silence") == SourceSignal(
        source="a", import_limit_w=limits[0], export_limit_w=limits[1], problem=said, connection_point=DEPOT
    )


@together(
    ("until", "own_place", "valid"),
    [
        ((None,), False, NOW_MS + 24 * HOUR_MS),
        ((NOW_MS + 5, NOW_MS + 9), False, NOW_MS + 5),
        ((NOW_MS + 9, NOW_MS + 5), False, NOW_MS + 5),
        ((NOW_MS - 5,), False, NOW_MS - 5),
        ((0,), False, 1),
        ((NOW_MS - 5,), True, NOW_MS + 24 * HOUR_MS),
        ((NOW_MS,), True, NOW_MS + 24 * HOUR_MS),
        ((NOW_MS + 1,), True, NOW_MS + 1),
    ],
)
def test_a_signal_is_valid_as_long_as_each_source_vouches(
    until: Sequence[int | None], own_place: bool, valid: int
) -> None:
    """One that is lost ends export at its own place alone."""
    place = DEPOT if own_place else None
    names = OWN.sources[: len(until)]
    signals = [
        SourceSignal(source=name, export_until_ms=each, connection_point=place)
        for name, each in zip(names, until, strict=True)
    ]
    found = combine(OWN, signals, None, NOW_MS)
    assert found is not None
    assert (found.valid_until_ms, found.issued_at_ms) == (valid, min(NOW_MS, valid - 1))


def test_a_signal_names_its_place_and_sources_in_their_order() -> None:
    site = msgspec.structs.replace(OWN, connection_point=DEPOT)
    found = combine(site, [SourceSignal(source="c"), SourceSignal(source="a")], None, NOW_MS)
    assert found is not None
    assert (found.source, found.connection_point) == ("a,c", DEPOT)
    alone = combine(OWN, [], None, NOW_MS)
    assert alone is not None
    assert (alone.source, alone.site_import_limit_w, alone.export_limit_w) == (SITE, 100, 40)
    long = msgspec.structs.replace(OWN, sources=("x" * 40, "y" * 40))
    named = combine(long, [SourceSignal(source=each) for each in long.sources], None, NOW_MS)
    assert named is not None
    assert named.source == f"{'x' * 40},{'y' * 23}"


@together(
    ("now_s", "until_s", "goes_on"),
    [(0, 900, True), (1, 901, True), (449, 1349, True), (450, 1350, False), (0, 899, False), (0, 1801, False),
     (0, 1799, True), (900, 900, True)],
)  # fmt: skip
def test_a_validity_is_extended_when_half_of_it_is_over(now_s: int, until_s: int, goes_on: bool) -> None:
    def stated(seconds: int) -> SourceSignal:
        return SourceSignal(source="a", export_until_ms=NOW_MS + seconds * 1000)

    current = combine(OWN, [stated(900)], None, NOW_MS)
    following = combine(OWN, [stated(until_s)], current, NOW_MS + now_s * 1000)
    assert (following is None) is goes_on
    assert following is None or following.version == 1


def prices(*series: tuple[SignalSlot, ...], now_ms: int = NOW_MS) -> list[tuple[int, int, int, int]]:
    """Return start (s from now), duration, price and compensation of what follows from series of prices."""
    signals = [SourceSignal(source=name, slots=each) for name, each in zip("abc", series, strict=False)]
    found: GridSignal | None = combine(OWN, signals, None, now_ms)
    assert found is not None
    return [
        ((each.start_ms - NOW_MS) // 1000, each.duration_s, each.import_price, each.export_compensation)
        for each in found.slots
    ]


def test_prices_begin_with_the_hour() -> None:
    past, this = slot(NOW_MS - 60_000, 60, 1), slot(NOW_MS - 60_000, 61, 2)
    assert prices((past, slot(NOW_MS, 60, 3)), now_ms=NOW_MS + HOUR_MS - 1) == [(0, 60, 3, 0)]
    assert prices((this,)) == [(-60, 61, 2, 0)]
    assert prices((past,), (slot(NOW_MS, 60, 3),)) == [(0, 60, 3, 0)]
    assert prices((this,), (slot(NOW_MS + 1000, 60, 3),)) == [(-60, 61, 2, 0), (1, 60, 3, 0)]


def test_a_signal_has_no_more_slots_than_it_may() -> None:
    many = tuple(slot(NOW_MS + n * 1000, 1, n) for n in range(3001))
    assert prices(many)[-1][0] == 2999
    assert len(prices(many, (slot(NOW_MS + 10**9, 1, 0),))) == 3000


def test_parts_of_a_slot_are_one_again_and_slivers_are_left_out() -> None:
    day = slot(NOW_MS, 3600, 100, 50)
    assert prices((slot(NOW_MS + 9_000_000, 60, 1),), (day,), (slot(NOW_MS + 60_000, 60, 3),)) == [
        (0, 3600, 100, 50), (9000, 60, 1, 0)
    ]  # fmt: skip
    apart = (slot(NOW_MS, 60, 7), slot(NOW_MS + 60_000, 60, 7))
    assert prices(apart, (slot(NOW_MS + 30_000, 10, 3),)) == [(0, 60, 7, 0), (60, 60, 7, 0)]
    sliver = slot(NOW_MS + 1_800_999, 1, 7)
    assert prices((sliver,), (day,)) == [(0, 1800, 100, 50), (1800, 1, 7, 0), (1801, 1798, 100, 50)]
    halves = slot(NOW_MS + 1_800_000, 1, 7), slot(NOW_MS + 1_800_500, 1800, 3)
    assert prices(halves[:1], (day,), halves[1:]) == [(0, 1800, 100, 50), (1801, 1799, 100, 50)]
    two = (slot(NOW_MS, 1800, 1), slot(NOW_MS + 1_800_000, 1800, 2))
    cuts = tuple(slot(NOW_MS + 1_860_000 + n * 60_000, 60, 3) for n in range(2))
    assert prices(two, cuts) == [(0, 1800, 1, 0), (1800, 1800, 2, 0)]
    near = (slot(NOW_MS + 500, 60, 7),)
    assert prices(near, (day,)) == [(0, 60, 7, 0), (60, 3539, 100, 50)]
    other = slot(NOW_MS + 3_600_000, 60, 100, 51)
    assert prices((day, other), (slot(NOW_MS + 10_000_000, 1, 1),))[1] == (3600, 60, 100, 51)
