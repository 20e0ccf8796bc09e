"""The authorization cache by itself: what is stored, for how long, and what makes room (C10 to C12)."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from v2g.ocpp.messages.authorization import ClearCacheRequest, ClearCacheResponse, IdToken, IdTokenInfo
from v2g.ocpp.messages.base import MessageContent
from v2g.ocpp.messages.payment import DIRECT_PAYMENT
from v2g.ocpp.messages.tariff_cost import Tariff
from v2g.ocpp.times import format_time
from v2g_station.blocks.authorization.cache import MAX_ENTRIES, Cache, CachedToken, DriverTariff, known
from v2g_station.blocks.identifiers import name_of
from v2g_station.kernel.kernel import Keep, Kernel, Moment
from v2g_station.kernel.layout import ConnectorLayout, EvseLayout, StationLayout

NOW_MS = 1_780_000_200_000
TAG = IdToken(id_token="Tag-1", type="ISO14443")
TAG_KEY = "a1be089da4030b7e9acc48b99baabe5071241edc"
ACCEPTED = IdTokenInfo(status="Accepted")


class Shelf:
    """A cache, its kernel, and what it keeps across restarts."""

    def __init__(self, saved: Mapping[str, bytes] | None = None, **values: str) -> None:
        self.saved = dict(saved or {})
        layout = StationLayout(evses=(EvseLayout(connectors=(ConnectorLayout(),)),))
        settings = {f"AuthCacheCtrlr.{name}": value for name, value in values.items()}
        self.kernel = Kernel(layout, {"cache": self.saved}, Moment(0.0, NOW_MS), bytes, values=settings)
        self.cache = Cache(self.kernel)

    def wait(self, ms: int) -> None:
        """Let time pass."""
        self.kernel.at(Moment(self.kernel.now + ms / 1000, self.kernel.utc_ms + ms))

    def kept(self) -> list[Keep]:
        """Carry out what is to be stored; return it. None of it has to be on disk at once."""
        found = [each for each in self.kernel.actions if isinstance(each, Keep) and each.collection == "cache"]
        self.kernel.actions.clear()
        for each in found:
            assert not each.durable, "losing an entry costs one request"
            if each.body is None:
                self.saved.pop(each.key)
            else:
                self.saved[each.key] = each.body
        return found

    @property
    def storage(self) -> int:
        """Its size as the CSMS reads it, bytes."""
        return int(self.kernel.model.text("AuthCacheCtrlr.Storage"))


def tag(number: int) -> IdToken:
    return IdToken(id_token=f"T-{number}", type="ISO14443")


@pytest.mark.parametrize("kind", ["Central", "NoAuthorization", "DirectPayment"])
def test_identifiers_that_are_used_once_are_not_stored(kind: Any) -> None:
    """C02.FR.03, C05.FR.02."""
    shelf, once = Shelf(), IdToken(id_token="T-1", type=kind)
    shelf.cache.learn(once, ACCEPTED, authorized=True)
    assert shelf.cache.find(once) is None
    assert shelf.kept() == []


def test_an_identifier_is_known_by_a_hash_whatever_its_case() -> None:
    """The first 40 digits of SHA-256 over type, zero byte and the identifier in small letters, in every version."""
    assert name_of(TAG) == name_of(IdToken(id_token="TAG-1", type="ISO14443")) == TAG_KEY
    assert name_of(TAG) != name_of(IdToken(id_token="Tag-1", type="ISO15693"))


def test_all_that_is_of_use_is_known_and_survives_a_restart() -> None:
    info = IdTokenInfo(
        status="Blocked",
        group_id_token=IdToken(id_token="G", type="Central"),
        cache_expiry_date_time=format_time(NOW_MS + 1000),
        language1="de",
        language2="en",
        evse_id=(1,),
        personal_message=MessageContent(format="UTF8", content="Hello"),
    )
    shelf = Shelf()
    shelf.cache.learn(TAG, info, authorized=True, energy_transfer=("DC",))
    shelf.kept()
    found = Shelf(shelf.saved).cache.find(TAG)
    assert found == CachedToken(
        status="Blocked",
        group="G",
        expires_ms=NOW_MS + 1000,
        evse_ids=(1,),
        language="de",
        language2="en",
        message="Hello",
        energy_transfer=("DC",),
        driver=None,
        stored_ms=NOW_MS,
        used_ms=NOW_MS,
        uses=1,
    )
    assert known(ACCEPTED, 7) == CachedToken(status="Accepted", stored_ms=7, used_ms=7)


def test_a_report_about_a_customer_makes_no_entry_last_longer() -> None:
    shelf = Shelf(LifeTime="60")
    shelf.cache.learn(TAG, ACCEPTED)
    shelf.wait(50_000)
    assert shelf.cache.find(TAG, uses=False) is not None
    shelf.wait(20_000)
    assert shelf.cache.find(TAG) is None


def test_an_entry_without_times_is_an_unused_one_of_long_ago() -> None:
    shelf = Shelf({TAG_KEY: b'{"status":"Accepted"}'})
    shelf.wait(5)
    found = shelf.cache.find(TAG)
    assert found is not None
    assert (found.stored_ms, found.used_ms, found.uses) == (0, NOW_MS + 5, 1)
    assert Shelf({TAG_KEY: b'{"status":"Accepted"}'}, LifeTime="1780000200").cache.find(TAG) is None
    assert Shelf({TAG_KEY: b'{"status":"Accepted"}'}, LifeTime="1780000201").cache.find(TAG) is not None


@pytest.mark.parametrize("kind", ["NoAuthorization", DIRECT_PAYMENT])
def test_what_is_used_only_once_is_not_stored(kind: str) -> None:
    shelf = Shelf()
    once = IdToken(id_token="X", type=kind)
    shelf.cache.learn(once, ACCEPTED)
    assert shelf.cache.find(once) is None
    assert shelf.storage == 0


def test_a_disabled_cache_learns_nothing_and_knows_nothing() -> None:
    """C10.FR.11; it cannot be cleared either (C11.FR.04)."""
    shelf = Shelf()
    shelf.cache.learn(TAG, ACCEPTED)
    shelf.kernel.put("AuthCacheCtrlr.Enabled", "false")
    assert not shelf.cache.enabled
    assert shelf.cache.find(TAG) is None
    shelf.cache.learn(tag(1), ACCEPTED)
    answer = shelf.cache.answers["ClearCache"](ClearCacheRequest())
    assert isinstance(answer, ClearCacheResponse)
    assert answer.status_info is not None
    assert (answer.status, answer.status_info.reason_code) == ("Rejected", "NotEnabled")
    shelf.kernel.put("AuthCacheCtrlr.Enabled", "true")
    assert shelf.cache.find(TAG) is not None
    assert shelf.cache.find(tag(1)) is None


def test_clearing_forgets_all() -> None:
    shelf = Shelf()
    for number in range(3):
        shelf.cache.learn(tag(number), ACCEPTED)
    answer = shelf.cache.answers["ClearCache"](ClearCacheRequest())
    assert answer == ClearCacheResponse(status="Accepted")
    shelf.kept()
    assert (shelf.saved, shelf.storage) == ({}, 0)


def test_the_time_that_the_csms_gave_counts_else_the_lifetime_since_the_last_use() -> None:
    """C10.FR.08, .10."""
    shelf = Shelf(LifeTime="60")
    shelf.cache.learn(TAG, ACCEPTED)
    for given, number in ((30_000, 1), (90_000, 2)):
        shelf.cache.learn(
            tag(number), IdTokenInfo(status="Accepted", cache_expiry_date_time=format_time(NOW_MS + given))
        )
    shelf.wait(29_999)
    assert shelf.cache.find(tag(1)) is not None
    shelf.wait(1)
    assert shelf.cache.find(tag(1)) is None
    shelf.wait(29_999)
    assert shelf.cache.find(TAG) is not None, "59.999 s"
    shelf.wait(29_999)
    assert shelf.cache.find(tag(2)) is not None
    shelf.wait(2)
    assert shelf.cache.find(tag(2)) is None
    shelf.wait(29_998)
    assert shelf.cache.find(TAG) is not None, "used 59.999 s ago"
    shelf.wait(60_000)
    assert shelf.cache.find(TAG) is None
    shelf.kept()
    assert (shelf.saved, shelf.storage) == ({}, 0), "C10.FR.13"


def test_the_shortest_lifetime_is_a_second() -> None:
    shelf = Shelf(LifeTime="1")
    shelf.cache.learn(TAG, ACCEPTED)
    shelf.wait(1000)
    assert shelf.cache.find(TAG) is None


def test_without_a_lifetime_an_entry_stays() -> None:
    shelf = Shelf(LifeTime="0")
    shelf.cache.learn(TAG, ACCEPTED)
    shelf.wait(10**12)
    assert shelf.cache.find(TAG) is not None


def test_a_time_that_nobody_can_read_allows_nothing() -> None:
    shelf = Shelf()
    shelf.cache.learn(TAG, IdTokenInfo(status="Accepted", cache_expiry_date_time="tomorrow"))
    assert shelf.cache.find(TAG) is None


def test_the_same_answer_is_written_once_and_another_one_again() -> None:
    shelf = Shelf()
    shelf.cache.learn(TAG, ACCEPTED)
    assert len(shelf.kept()) == 1
    shelf.wait(1000)
    shelf.cache.find(TAG)
    shelf.cache.learn(TAG, ACCEPTED)
    assert shelf.kept() == []
    shelf.cache.learn(TAG, IdTokenInfo(status="Blocked"))
    (kept,) = shelf.kept()
    assert (kept.key, shelf.saved.keys()) == (TAG_KEY, {TAG_KEY})
    found = shelf.cache.find(TAG)
    assert found is not None
    assert (found.status, found.stored_ms, found.uses) == ("Blocked", NOW_MS + 1000, 2)


def test_an_answer_that_is_no_authorization_leaves_tariff_and_energy_transfer() -> None:
    """I08.FR.05, Q01.FR.01: only an AuthorizeResponse has them."""
    shelf = Shelf()
    driver = DriverTariff(id_token=TAG.id_token, tariff=Tariff(tariff_id="T", currency="EUR"))
    shelf.cache.drivers[TAG_KEY] = driver
    shelf.cache.learn(TAG, ACCEPTED, energy_transfer=("AC",))
    found = shelf.cache.find(TAG)
    assert found is not None
    assert (found.driver, found.energy_transfer, shelf.storage) == (None, (), 256)
    shelf.cache.learn(TAG, ACCEPTED, authorized=True, energy_transfer=("DC",))
    del shelf.cache.drivers[TAG_KEY]
    shelf.cache.learn(TAG, ACCEPTED)
    found = shelf.cache.find(TAG)
    assert found is not None
    assert (found.driver, found.energy_transfer, shelf.storage) == (driver, ("DC",), 256 + 1024)
    shelf.kept()
    assert Shelf(shelf.saved).storage == 256 + 1024
    shelf.cache.learn(TAG, ACCEPTED, authorized=True)
    found = shelf.cache.find(TAG)
    assert found is not None
    assert (found.driver, found.energy_transfer, shelf.storage) == (None, (), 256)


def test_an_identifier_is_forgotten_once() -> None:
    shelf = Shelf()
    shelf.cache.learn(TAG, ACCEPTED)
    assert shelf.cache.forget(TAG) is True
    assert shelf.cache.forget(TAG) is False
    shelf.kept()
    assert (shelf.saved, shelf.storage) == ({}, 0)


def full(policy: str) -> Shelf:
    """A full cache: stored one after the other, used from the last to the first, the 5th most seldom."""
    entries: dict[str, Any] = {}
    for number in range(MAX_ENTRIES):
        about = CachedToken(
            status="Accepted",
            stored_ms=NOW_MS - MAX_ENTRIES + number,
            used_ms=NOW_MS - number,
            uses=1 if number == 5 else 2,
        )
        entries[name_of(tag(number))] = msgspec.json.encode(about)
    return Shelf(entries, Policy=policy)


@pytest.mark.parametrize(("policy", "victim"), [("LRU", MAX_ENTRIES - 1), ("FIFO", 0), ("LFU", 5)])
def test_a_full_cache_makes_room_by_its_policy(policy: str, victim: int) -> None:
    """C10.FR.07."""
    shelf = full(policy)
    assert shelf.storage == 1000 * 256
    shelf.cache.learn(tag(1), ACCEPTED)
    assert shelf.kept() == [], "it was known, and 1000 fit"
    shelf.cache.learn(TAG, ACCEPTED)
    stored, removed = shelf.kept()
    assert (stored.key, removed.key, removed.body) == (TAG_KEY, name_of(tag(victim)), None)
    assert shelf.storage == 1000 * 256
    assert shelf.cache.find(TAG) is not None, "never the new one"


@pytest.mark.parametrize("policy", ["LRU", "FIFO", "LFU"])
def test_what_does_not_permit_charging_goes_first(policy: str) -> None:
    shelf = full(policy)
    shelf.cache.learn(tag(500), IdTokenInfo(status="Blocked"))
    shelf.kept()
    shelf.cache.learn(TAG, IdTokenInfo(status="Invalid"))
    assert shelf.kept()[1].key == name_of(tag(500))
