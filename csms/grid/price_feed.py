"""Price feeds as sources of the grid signal: a watched file, or polling by HTTPS with entity tags.

One of several nodes at a time reads a feed (`csms.db.leases`). While a feed does not answer, its known prices
stay in force for the times that they are for; it is reported as stale after `stale_after_s`.
"""

import logging
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import msgspec

from csms.grid.config import PriceFeed, price_source
from csms.grid.rules import SourceSignal
from csms.grid.setpoints import keep_polling
from csms.grid.source import GridSource
from csms.services import Services
from v2g.energy.grid_signal import MAX_SIGNAL_BYTES
from v2g.energy.price_feeds import FeedData, Markup, most_bytes, parse_feed
from v2g.errors import CodecError, TransferError, TransportError
from v2g.io.http.client import request
from v2g.io.runtime.clock import Clock
from v2g.pki.keys import read_secret
from v2g.rates import retry_after
from v2g.units import HOUR_MS

_log = logging.getLogger(__name__)

_ANSWER_S: Final = 20.0
_LONGEST_PAUSE_S: Final = 3600.0
_LONGEST_RETRY_AFTER_S: Final = 86_400.0


class FeedError(TransportError):
    """A feed does not answer; it asks not to be requested again for `retry_after_s`."""

    def __init__(self, message: str, *, retry_after_s: float = 0.0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class Reader(Protocol):
    """Where the document of a feed comes from."""

    async def read(self) -> bytes | None:
        """Return the document, None if it is the same as last time. Raises TransportError, CodecError."""


class FileReader:
    """A file that others replace by renaming a new one."""

    def __init__(self, path: Path, most: int = MAX_SIGNAL_BYTES) -> None:
        self._path, self._most = path, most
        self._seen: tuple[int, int, int] | None = None

    async def read(self) -> bytes | None:
        """See Reader."""
        try:
            status = self._path.stat()
            seen = status.st_mtime_ns, status.st_size, status.st_ino
            if seen == self._seen:
                return None
            with self._path.open("rb") as file:
                data = file.read(self._most + 1)
        except OSError as error:
            self._seen = None
            raise TransportError(f"{self._path}: {error.strerror}") from None
        self._seen = seen
        return data


class HttpReader:
    """A document by HTTPS. Redirects are not followed; the secret of a URL is never part of an error."""

    def __init__(
        self, clock: Clock, url: str, *, secret: str, tls: ssl.SSLContext | None, most: int = MAX_SIGNAL_BYTES
    ) -> None:
        self._clock, self._url, self._tls, self._most = clock, url, tls, most
        self._secret = secret
        self._validators: dict[str, str] = {}
        self._requested = ""

    async def read(self) -> bytes | None:
        """See Reader. Raises FeedError with the time that the server asks to wait."""
        url = expand(self._url, self._clock.utc_ms(), self._secret)
        where = f"{urlsplit(url).scheme}://{urlsplit(url).netloc.rpartition('@')[2]}{urlsplit(url).path}"
        headers = self._validators if url == self._requested else {}
        try:
            answer = await request("GET", url, most=self._most, timeout_s=_ANSWER_S, headers=headers, context=self._tls)
        except TransferError as error:
            if error.failure == "too_large":
                raise CodecError(f"{where} answers with more than {self._most} bytes") from None
            raise FeedError(f"{where}: {error}", hint="is the server reachable?") from None
        if answer.status == 304 and headers:
            return None
        if answer.status != 200:
            asked_s = retry_after(answer.headers.get("retry-after", ""), self._clock.now()) or 0.0
            raise FeedError(
                f"{where} answers with HTTP status {answer.status}",
                retry_after_s=min(asked_s, _LONGEST_RETRY_AFTER_S),
                hint="is the URL right, and the secret valid?" if answer.status < 500 else "",
            )
        self._requested = url
        self._validators = {
            name: answer.headers[field]
            for name, field in (("If-None-Match", "etag"), ("If-Modified-Since", "last-modified"))
            if field in answer.headers
        }
        return answer.body


class PriceFollower:
    """Follows one feed."""

    def __init__(self, services: Services, config: PriceFeed, reader: Reader) -> None:
        self._services, self._config, self._reader = services, config, reader
        self._markup = Markup(
            import_factor=config.import_factor,
            import_surcharge=config.import_surcharge,
            export_factor=config.export_factor,
            export_surcharge=config.export_surcharge,
        )
        self._source = price_source(config.name)
        self._data: FeedData | None = None
        self._failures = 0
        self._polled_ms = self._poll_ms = 0
        self._answered_ms: int | None = None
        self._problem = ""
        self._broken = ""
        """Why the document that the reader has last returned cannot be used."""

    async def run(self) -> None:
        """Read the feed, and state its prices, until cancelled."""
        await keep_polling(self.step, self._services.clock, self._config.poll_interval_s)

    async def step(self) -> int:
        """Read the feed if it is time, and state its prices; return when to do so again (UTC ms)."""
        now_ms = self._services.clock.utc_ms()
        if self._polled_ms <= now_ms < self._poll_ms:  # earlier: the clock was set back
            return self._poll_ms
        self._polled_ms, self._poll_ms = now_ms, now_ms + round(self._config.poll_interval_s * 1000)
        if not await self._services.leads(self._source, self._config.poll_interval_s):
            self._answered_ms = None
            return self._poll_ms
        if self._answered_ms is None:
            self._answered_ms = now_ms
        problem = await self._read(now_ms)
        stale = now_ms - self._answered_ms >= self._config.stale_after_s * 1000
        slots = () if self._data is None else self._data.slots
        priced = any(slot.start_ms <= now_ms < slot.start_ms + slot.duration_s * 1000 for slot in slots)
        if slots and not problem and not priced:
            problem = "has no price for now"
        self._report_problem(problem, stale=stale)
        await self._services[GridSource].state(
            await self._stated(now_ms, problem if stale or self._data is None else "")
        )
        return self._poll_ms

    async def _read(self, now_ms: int) -> str:
        """Read the document; return what is wrong, if something is. After errors requests become rarer."""
        try:
            document = await self._reader.read()
            if document is None and self._broken:  # no answer: the same document as when it could not be used
                return self._broken
            if document is not None:
                self._broken = ""
                data = parse_feed(document, self._config.format, self._markup, self._config.series)
                if data.currency != self._services.config.grid.currency and data.slots:
                    raise CodecError(
                        f"has prices in {data.currency}; grid.currency is {self._services.config.grid.currency}"
                    )
                before = None if self._data is None else self._data.version
                if before is not None and data.version is not None and data.version < before:
                    raise CodecError(f"has version {data.version} after {before}")
                if before is not None and data.version == before and data != self._data:
                    raise CodecError(f"has changed without a higher version than {before}")
                if refusal := self._services[GridSource].bounds.refusal(data.slots):
                    raise CodecError(refusal)
                self._data = data
                self._services.announce(
                    "ocpp", "price_feed_read", feed=self._config.name, prices=len(data.slots), until_ms=data.until_ms
                )
        except Exception as error:  # noqa: BLE001 - a defect, too, is a problem of this feed, which people must see
            if not isinstance(error, TransportError | CodecError):
                _log.exception("price feed %s", self._config.name)
            if not isinstance(error, TransportError):
                self._broken = str(error)
            self._failures += 1
            pause_s = min(self._config.poll_interval_s * 2 ** min(self._failures - 1, 12), _LONGEST_PAUSE_S)
            asked_s = error.retry_after_s if isinstance(error, FeedError) else 0.0
            longest_s = max(pause_s, self._config.poll_interval_s, asked_s)
            self._poll_ms = now_ms + round(longest_s * 1000)
            return str(error) or type(error).__name__
        self._failures = 0
        self._answered_ms = now_ms
        return ""

    async def _stated(self, now_ms: int, problem: str) -> SourceSignal:
        data = self._data
        if data is None:  # another node's prices stay
            known = next(
                (each for each in await self._services[GridSource].stated() if each.source == self._source), None
            )
            return msgspec.structs.replace(known or SourceSignal(source=self._source), problem=problem[:200])
        first_ms = now_ms - now_ms % HOUR_MS
        last_ms = first_ms + HOUR_MS + self._config.horizon_s * 1000
        return SourceSignal(
            source=self._source,
            slots=tuple(
                slot
                for slot in data.slots
                if slot.start_ms + slot.duration_s * 1000 > first_ms and slot.start_ms < last_ms
            ),
            import_limit_w=data.import_limit_w,
            export_limit_w=data.export_limit_w,
            export_until_ms=data.export_until_ms,
            problem=problem[:200],
        )

    def _report_problem(self, problem: str, *, stale: bool) -> None:
        """Report a problem once, again when it becomes stale, and when it is over."""
        said = f"{'stale' if stale else ''}/{problem}" if problem else ""
        if said == self._problem:
            return
        self._problem = said
        if not problem:
            self._services.announce("ocpp", "price_feed_recovered", feed=self._config.name)
            return
        age_s = (self._services.clock.utc_ms() - (self._answered_ms or 0)) // 1000
        name = "price_feed_stale" if stale else "price_feed_problem"
        self._services.announce("ocpp", name, feed=self._config.name, reason=problem[:200], age_s=age_s)


def expand(url: str, now_ms: int, secret: str) -> str:
    """Return a URL with days (UTC) and secret in the places of `{today}`, `{tomorrow8}`, `{secret}` and so on."""
    today = datetime.fromtimestamp(now_ms / 1000, tz=UTC).date()
    days = {"today": today, "tomorrow": today + timedelta(days=1)}
    for name, day in days.items():
        url = url.replace(f"{{{name}}}", day.isoformat()).replace(f"{{{name}8}}", f"{day:%Y%m%d}")
    return url.replace("{secret}", secret)


async def follow_prices(services: Services, config: PriceFeed) -> None:
    """Follow a configured feed, until cancelled. Raises ConfigError, KeyAccessError."""
    most = most_bytes(config.format)
    if config.file is not None:
        await PriceFollower(services, config, FileReader(config.file, most)).run()
        return
    secret = "" if config.secret_file is None else read_secret(config.secret_file).decode().strip()
    tls = ssl.create_default_context(cafile=None if config.root is None else str(config.root))
    reader = HttpReader(services.clock, config.url, secret=secret, tls=tls, most=most)
    await PriceFollower(services, config, reader).run()
