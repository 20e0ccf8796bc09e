"""Price feeds: files that are replaced, servers with entity tags, errors, back-off, stale data, one node at a time."""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import Connection, func, select

from csms.grid.config import PriceFeed
from csms.grid.price_feed import FileReader, HttpReader, PriceFollower, Reader, expand
from csms.grid.rules import SourceSignal
from csms.grid.source import GridSource
from csms.grid.tables import grid_signals
from pki_tools.tree import PkiTree
from tests import web_server
from tests.csms.api.support import serving
from tests.csms.backend import Backend, running_backend
from tests.csms.grid.site import GridSite
from tests.csms.support import grid_signal, make_config
from v2g.energy.grid_signal import SignalSlot
from v2g.errors import RefusedError

VECTORS = Path(__file__).parents[2] / "vectors/prices"
RECORDED = (VECTORS / "energy-charts-de-lu-2024-05-04.json").read_bytes()
NOW_MS = 1_714_773_600_000 + 600_000
"""Ten minutes into the recorded day."""


class Feed(GridSite):
    """A back end whose feed takes its steps when the test says so."""

    def __init__(self, backend: Backend, config: PriceFeed, reader: Reader) -> None:
        super().__init__(backend)
        self.config, self.reader = config, reader
        self.follower = PriceFollower(backend.services, config, reader)

    async def step(self, seconds: float = 0.0) -> float:
        """Let time pass and take a step; return in how many seconds the next one is due."""
        self.backend.clock.advance(seconds)
        return (await self.follower.step() - self.backend.clock.utc_ms()) / 1000

    @property
    def prices(self) -> list[int]:
        """The import prices in force and to come."""
        signal = self.backend.services[GridSource].current
        return [] if signal is None else [slot.import_price for slot in signal.slots]


Start = Callable[..., contextlib.AbstractAsyncContextManager[Feed]]


@pytest.fixture
def feed(tmp_path: Path, pki: PkiTree, empty_database: Path) -> Start:
    """Start a feed that reads a file, or what `reader` reads; keyword arguments change its section."""

    @contextlib.asynccontextmanager
    async def begin(
        reader: Callable[[Any], Reader] | None = None, now_ms: int = NOW_MS, currency: str = "EUR", **changes: Any
    ) -> AsyncIterator[Feed]:
        settings: dict[str, Any] = {"name": "day", "format": "energy-charts", "file": tmp_path / "prices.json"}
        config = PriceFeed(**(settings | changes))
        grid = {"prices": (config,), "currency": currency, "import_limit_w": 50_000, "export_limit_w": 9_000}
        whole = make_config(tmp_path, pki, grid=grid)
        async with running_backend(whole, empty_database, now_ms) as backend:
            made = FileReader(tmp_path / "prices.json") if reader is None else reader(backend.clock)
            yield Feed(backend, config, made)

    return begin


def replace(path: Path, data: bytes) -> None:
    """Put a new file in the place of one."""
    part = path.with_suffix(".part")
    part.write_bytes(data)
    part.replace(path)


@pytest.mark.requirement("R52")
async def test_a_recorded_day_from_a_file_becomes_the_signals_prices(feed: Start, tmp_path: Path) -> None:
    """With the site's own limits; past hours are left out, and nothing new is nothing sent."""
    replace(tmp_path / "prices.json", RECORDED)
    async with feed() as day:
        await day.step()
        signal = day.backend.services[GridSource].current
        assert signal is not None
        assert (signal.source, signal.site_import_limit_w, signal.export_limit_w) == ("prices:day", 50_000, 9_000)
        assert (len(day.prices), day.prices[0]) == (24, 90_800)
        await day.step(900)
        assert day.backend.services[GridSource].current is signal
        await day.step(3600)
        assert (len(day.prices), day.prices[0]) == (23, 87_790)
        await day.step(-3600)  # the clock was set back
        assert (len(day.prices), day.prices[0]) == (24, 90_800)
        assert len(day.named("price_feed_read")) == 1


@pytest.mark.requirement("R180")
@pytest.mark.parametrize(
    ("document", "format_", "currency", "begin_ms", "prices"),
    [
        ("caiso-prc-lmp-dam.csv", "caiso", "USD", 1_643_727_600_000, [74_630, -5_500]),
        ("elexon-market-index.json", "elexon", "GBP", 1_704_067_200_000, [36_510, -2_000]),
        ("jepx-spot.csv", "jepx", "JPY", 1_782_831_600_000, [17_750_000, 16_200_000]),
    ],
)
async def test_markets_of_california_great_britain_and_japan_are_the_signals_prices(
    feed: Start, tmp_path: Path, document: str, format_: str, currency: str, begin_ms: int, prices: list[int]
) -> None:
    replace(tmp_path / "prices.json", (VECTORS / document).read_bytes())
    async with feed(now_ms=begin_ms + 600_000, currency=currency, format=format_) as day:
        await day.step()
        assert day.prices[:2] == prices
        assert day.named("price_feed_problem") == []


async def test_a_replaced_file_is_read_a_broken_one_is_named_and_its_predecessor_stays(
    feed: Start, tmp_path: Path
) -> None:
    """Named once, also when it was over."""
    path = tmp_path / "prices.json"
    replace(path, RECORDED)
    async with feed(poll_interval_s=60.0) as day:
        await day.step()
        replace(path, b"half a day")
        await day.step(60)
        await day.step(60)
        (problem,) = day.named("price_feed_problem")
        assert "Energy-Charts" in problem["reason"]
        assert day.prices[0] == 90_800
        replace(path, RECORDED.replace(b"90.8,", b"50.5,"))
        await day.step(60)
        assert day.prices[0] == 50_500
        assert len(day.named("price_feed_recovered")) == 1


async def test_a_broken_file_that_is_not_replaced_stays_a_problem_and_becomes_stale(
    feed: Start, tmp_path: Path
) -> None:
    """That it is the same file as before is no answer."""
    path = tmp_path / "prices.json"
    replace(path, RECORDED)
    async with feed(poll_interval_s=600.0) as day:
        await day.step()
        replace(path, b"half a day")
        for _ in range(40):
            await day.step(600)
        assert not day.named("price_feed_recovered")
        assert len(day.named("price_feed_stale")) == 1
        replace(path, RECORDED)
        await day.step(3600)
        assert len(day.named("price_feed_recovered")) == 1


async def test_a_price_beyond_the_bounds_is_refused_by_name(feed: Start, tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    replace(path, RECORDED)
    async with feed(poll_interval_s=60.0) as day:
        await day.step()
        replace(path, RECORDED.replace(b"90.8,", b"999999999999,"))
        await day.step(60)
        (problem,) = day.named("price_feed_problem")
        assert "grid.most_price" in problem["reason"]
        assert day.prices[0] == 90_800, "its predecessor stays"


async def test_a_feed_of_grid_signals_takes_no_older_version_and_no_change_without_one(
    feed: Start, tmp_path: Path
) -> None:
    path = tmp_path / "prices.json"

    def write(version: int, price: int) -> None:
        slot = SignalSlot(start_ms=NOW_MS - 600_000, duration_s=7200, import_price=price, export_compensation=100_000)
        signal = grid_signal(version, issued_at_ms=NOW_MS, valid_until_ms=NOW_MS + 10**9, slots=(slot,))
        replace(path, signal.to_json())

    async with feed(format="grid-signal", poll_interval_s=60.0) as day:
        for version, price in ((3, 300_000), (2, 200_000), (3, 250_000), (4, 400_000)):
            write(version, price)
            await day.step(120)
            assert day.prices[0] == (400_000 if version == 4 else 300_000)
        reasons = [each["reason"] for each in day.named("price_feed_problem")]
        assert ["has version 2 after 3" in reasons[0], "without a higher version" in reasons[1]] == [True, True]


async def test_a_defect_in_reading_a_feed_is_a_problem_of_the_feed_that_people_see(feed: Start) -> None:
    """And the feed goes on once it can be read again."""

    class Broken:
        def __init__(self, _: object) -> None:
            self.documents: list[bytes | None] = [None, RECORDED]

        async def read(self) -> bytes | None:
            document = self.documents.pop(0)
            if document is None:
                raise ZeroDivisionError
            return document

    async with feed(Broken, poll_interval_s=60.0) as day:
        await day.step()
        (stated,) = [each for each in await day.backend.services[GridSource].stated() if each.source == "prices:day"]
        assert stated.problem == "ZeroDivisionError"
        await day.step(60)
        assert day.prices[0] == 90_800
        assert len(day.named("price_feed_recovered")) == 1


async def test_a_series_by_the_minute_keeps_its_minutes(feed: Start, tmp_path: Path) -> None:
    """For a day: 1,440 prices in one signal."""
    first_s = NOW_MS // 3_600_000 * 3600
    document = (
        f'{{"unit":"EUR/MWh","unix_seconds":{[first_s + 60 * n for n in range(1440)]},'
        f'"price":{[n / 10 for n in range(1440)]}}}'
    )
    replace(tmp_path / "prices.json", document.encode())
    async with feed(poll_interval_s=60.0) as day:
        await day.step()
        assert day.prices == [n * 100 for n in range(1440)]


async def test_stale_data_is_named_with_its_age_and_prices_that_are_over_end(feed: Start, tmp_path: Path) -> None:
    """The feed is gone; what it said of later hours stays true."""
    path = tmp_path / "prices.json"
    replace(path, RECORDED)
    async with feed(poll_interval_s=600.0) as day:
        await day.step()
        path.unlink()
        for _ in range(40):
            await day.step(600)
        (stale,) = day.named("price_feed_stale")
        assert 7200 <= stale["age_s"] < 12_000
        assert len(day.prices) == 24 - 6
        (state,) = await day.backend.services[GridSource].stated()
        assert "prices.json" in state.problem
        for _ in range(30):
            await day.step(3600)
        assert day.prices == []


async def test_prices_in_another_currency_are_not_used(feed: Start, tmp_path: Path) -> None:
    """The reason names both."""
    replace(tmp_path / "prices.json", RECORDED.replace(b"EUR/MWh", b"CHF/MWh"))
    async with feed() as day:
        await day.step()
        assert "CHF" in day.named("price_feed_problem")[0]["reason"]
        assert day.prices == []


async def test_a_feed_of_grid_signals_brings_limits_too_and_the_lowest_counts(feed: Start, tmp_path: Path) -> None:
    """A signal that would be sent as a whole is refused beside it."""
    signal = grid_signal(1, valid_until_ms=NOW_MS + 600_000, issued_at_ms=NOW_MS, export_limit_w=12_000)
    replace(tmp_path / "prices.json", signal.to_json())
    async with feed(format="grid-signal") as day:
        await day.step()
        current = day.backend.services[GridSource].current
        assert current is not None
        assert current.export_limit_w == 9_000
        assert current.site_import_limit_w == min(50_000, signal.site_import_limit_w)
        assert current.valid_until_ms == NOW_MS + 600_000
        with pytest.raises(RefusedError, match="made from prices:day"):
            await day.backend.services[GridSource].offer(grid_signal(99), "test")


class Market:
    """A web server with prices."""

    def __init__(self) -> None:
        self.body, self.tag, self.status, self.retry_after = RECORDED, '"1"', 200, ""
        self.requests: list[web.Request] = []

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a request."""
        self.requests.append(request)
        headers = {"ETag": self.tag, **({"Retry-After": self.retry_after} if self.retry_after else {})}
        if self.status == 200 and request.headers.get("If-None-Match") == self.tag:
            return web.Response(status=304, headers=headers)
        return web.Response(status=self.status, body=self.body, headers=headers)


@pytest.fixture
async def market() -> AsyncIterator[tuple[Market, str]]:
    """Run a web server; yield it with its URL and a client."""
    server = Market()
    async with web_server.serving(server.answer) as port:
        yield server, f"http://127.0.0.1:{port}/price?day={{today}}&key={{secret}}"


async def test_a_server_is_asked_whether_there_is_news(feed: Start, market: tuple[Market, str]) -> None:
    """By its entity tag; another day is another document."""
    server, url = market
    async with feed(lambda clock: HttpReader(clock, url, secret="s3cret", tls=None), url=url, file=None) as day:
        await day.step()
        assert day.prices[0] == 90_800
        await day.step(900)
        server.body, server.tag = RECORDED.replace(b"90.8,", b"1.5,"), '"2"'
        await day.step(900)
        assert day.prices[0] == 1_500
        assert [r.headers.get("If-None-Match") for r in server.requests] == [None, '"1"', '"1"']
        assert server.requests[0].query["key"] == "s3cret"
        await day.step(86_400)
        assert "If-None-Match" not in server.requests[-1].headers
        assert {r.query["day"] for r in server.requests} == {"2024-05-03", "2024-05-04"}


async def test_after_errors_requests_become_rarer_and_a_server_may_ask_for_more(
    feed: Start, market: tuple[Market, str]
) -> None:
    """Up to an hour; the secret is in no event."""
    server, url = market
    server.status = 500
    async with feed(
        lambda clock: HttpReader(clock, url, secret="s3cret", tls=None),
        url=url,
        file=None,
        poll_interval_s=300.0,
    ) as day:
        pauses = [await day.step()]
        for _ in range(5):
            pauses.append(await day.step(pauses[-1]))
        assert pauses == [300, 600, 1200, 2400, 3600, 3600]
        server.status, server.retry_after = 429, "7200"
        assert await day.step(3600) == 7200
        asked = len(server.requests)
        await day.step(3600)
        assert len(server.requests) == asked, "it asked for two hours"
        assert not any("s3cret" in str(each.data) for each in day.backend.events.reported)


async def test_a_body_without_end_is_cut_off(feed: Start, market: tuple[Market, str]) -> None:
    """At the most that a signal may have."""
    server, url = market
    server.body = b" " * 3_000_000
    async with feed(lambda clock: HttpReader(clock, url, secret="", tls=None), url=url, file=None) as day:
        await day.step()
        assert day.named("price_feed_problem")[0]["reason"].endswith("more than 1000000 bytes")


async def test_one_node_at_a_time_reads_a_feed_and_the_next_one_keeps_its_prices(feed: Start, tmp_path: Path) -> None:
    """Also when it cannot read the feed itself."""
    replace(tmp_path / "prices.json", RECORDED)
    async with feed(poll_interval_s=60.0) as day:
        await day.step()
        other = PriceFollower(day.backend.services, day.config, FileReader(tmp_path / "elsewhere.json"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(day.backend.services.feed), "node", property(lambda _: "another"))
            await other.step()
            assert day.named("price_feed_problem") == [], "the first one has the lease"
            day.backend.clock.advance(181)
            await other.step()
        assert len(day.named("price_feed_problem")) == 1
        assert day.prices[0] == 90_800


async def test_a_source_that_has_never_answered_is_listed_with_that_problem(feed: Start, tmp_path: Path) -> None:
    async with feed() as day, serving(day.backend) as ask:
        listed = (await ask("GET", "/grid/sources")).json
        assert [(each["source"], each["problem"]) for each in listed] == [
            ("prices:day", "has not answered yet"),
            ("site", ""),
        ]
        await day.step()
        assert "prices.json" in (await ask("GET", "/grid/sources")).json[0]["problem"]


async def test_a_whole_signal_with_a_price_beyond_the_bounds_is_refused(feed: Start) -> None:
    slot = SignalSlot(start_ms=NOW_MS, duration_s=3600, import_price=999_999_999_999_000, export_compensation=0)
    async with feed() as day:
        grid = GridSource(day.backend.services.store, day.backend.clock, day.backend.events, None)
        with pytest.raises(RefusedError, match=r"grid\.most_price") as caught:
            await grid.offer(grid_signal(1, slots=(slot,)), "test")
        assert caught.value.reason == "price_out_of_bounds"


def test_days_and_secret_of_a_url_are_filled_in() -> None:
    """In UTC, in both notations."""
    url = "https://market/{today}/{tomorrow}?from={today8}0000&to={tomorrow8}&token={secret}"
    assert expand(url, NOW_MS, "abc") == "https://market/2024-05-03/2024-05-04?from=202405030000&to=20240504&token=abc"


async def test_signals_of_long_ago_are_deleted(feed: Start) -> None:
    """Prices by the minute would fill the disk."""
    async with feed() as day:
        for watts in range(110):
            await day.backend.services[GridSource].state(SourceSignal(source="prices:day", import_limit_w=watts))

        def count(connection: Connection) -> int:
            kept = select(func.count()).select_from(grid_signals).where(grid_signals.c.document != "")
            return connection.execute(kept).scalar_one()

        assert await day.backend.services.store.read(count) == 101
