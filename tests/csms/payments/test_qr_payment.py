"""QR codes of payment: which addresses are good, and one-time passwords by the published algorithm."""

import contextlib
import hashlib
import hmac
import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.payments.rules import Scanned, check_own_template, decode, is_valid
from tests.together import together
from v2g.errors import RefusedError
from v2g.ocpp.messages.transactions import TransactionLimit
from v2g.ocpp.web_payment import QrCode, address, check_template, totp

TEMPLATE = "https://qr.example/{chargingstationid}/{evse}/{totp}/{version}"
CODE = QrCode(template=TEMPLATE, shared_secret="a secret", validity_s=30, length=8)
NOW = 1_700_000_000_000


def by_the_book(secret: str, at_s: int, validity_s: int, length: int) -> str:
    """The algorithm of OCPP 2.1 as its C# example has it, step by step."""
    base62 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    mac = hmac.new(secret.encode("utf-8"), digestmod=hashlib.sha256)
    mac.update(struct.pack(">Q", at_s // validity_s))
    hash_ = mac.digest()
    offset = hash_[-1] & 0x0F
    built = ""
    for i in range(length):
        built += base62[hash_[(offset + i) % len(hash_)] % len(base62)]
    return built


@given(st.text(min_size=1, max_size=20), st.integers(0, 2**33), st.integers(10, 600), st.integers(6, 40))
def test_a_password_is_that_of_the_published_algorithm(secret: str, at_s: int, validity_s: int, length: int) -> None:
    code = msgspec.structs.replace(CODE, shared_secret=secret, validity_s=validity_s, length=length)
    assert totp(code, at_s * 1000) == by_the_book(secret, at_s, validity_s, length)


def test_a_password_is_good_in_its_interval_and_those_beside_it() -> None:
    given_ = totp(CODE, NOW)
    assert is_valid(given_, CODE, NOW - 30_000)
    assert is_valid(given_, CODE, NOW + 30_000)
    assert not is_valid(given_, CODE, NOW + 90_000)
    assert not is_valid(given_, msgspec.structs.replace(CODE, shared_secret="another"), NOW)
    assert not is_valid("", CODE, NOW)
    assert not is_valid("ä" * 8, CODE, NOW)


def test_an_address_says_station_evse_and_limits() -> None:
    found = decode("https://qr.example/CS1000/1/aHicux89/v1/?maxenergy=20000&maxtime=60&maxcost=9.5&x=1", TEMPLATE)
    assert (found.station_id, found.evse_id, found.totp) == ("CS1000", 1, "aHicux89")
    assert found.limit is not None
    assert (found.limit.max_energy, found.limit.max_time, found.limit.max_cost) == (20000.0, 60, 9.5)
    assert decode("https://qr.example/CS1000/1/aHicux89/v1?maxenergy=-1", TEMPLATE).limit is None
    ends = decode("https://qr.example/CS1/2147483647/p/v1?maxcost=1&maxcost=2#fragment?maxcost=3", TEMPLATE)
    assert (ends.evse_id, ends.limit) == (2**31 - 1, TransactionLimit(max_cost=2.0))
    assert decode("https://qr.example/CS1/0000000001/p/v1/#fragment?maxcost=3", TEMPLATE) == Scanned(
        station_id="CS1", evse_id=1, totp="p", limit=None
    )
    other = "https://qr.example/{language}/{chargingstationid}/{totp}/{version}"
    for language in ("", "en"):
        assert decode(f"https://qr.example/{language}/CS1/p/v1", other).station_id == "CS1"
    bare = decode("https://qr.example/aB/v1/CS%3D1/", "https://qr.example/{totp}/{version}/{chargingstationid}/")
    assert (bare.station_id, bare.evse_id) == ("CS=1", None)


@together(
    ("url", "reason"),
    [
        ("https://qr.example/CS1000/1/aHicux89", "address"),
        ("https://evil.example/CS1000/1/aHicux89/v1", "address"),
        ("https://qrXexample/CS1000/1/aHicux89/v1", "address"),
        ("https://qr.example/CS1000/1/aHicux89/v2", "version"),
        ("https://qr.example/CS1000/one/aHicux89/v1", "address"),
        ("https://qr.example/CS1000/0/aHicux89/v1", "address"),
        ("https://qr.example/CS1000/00000000001/aHicux89/v1", "address"),
        ("https://qr.example/CS1000/2147483648/aHicux89/v1", "address"),
        ("https://qr.example//1/aHicux89/v1", "address"),
        (f"https://qr.example/CS1000/{'9' * 5000}/aHicux89/v1", "address"),
        ("https://[qr.example/CS1000/1/aHicux89/v1", "address"),
        ("", "address"),
    ],
)
def test_what_is_no_address_of_the_station_is_refused(url: str, reason: str) -> None:
    with pytest.raises(RefusedError) as refused:
        decode(url, TEMPLATE)
    assert refused.value.reason == reason


@given(st.text())
def test_any_text_is_an_address_or_refused(text: str) -> None:
    with contextlib.suppress(RefusedError):
        decode(text, TEMPLATE)


def test_a_template_names_what_is_needed() -> None:
    check_own_template(TEMPLATE)
    for bad in (
        "http://qr.example/{chargingstationid}/{totp}/{version}",
        "https://qr.example/{chargingstationid}/{totp}",
        "https://qr.example/{totp}/{totp}/{version}/{chargingstationid}",
        "https://qr.example/{chargingstationid}/{evse}/{evse}/{totp}/{version}",
        "https://qr.example/{roamingevseid}/{totp}/{version}",
        "https://qr.example/?cs={chargingstationid}&p={totp}&v={version}",
        "https://qr.example/#{chargingstationid}/{totp}/{version}",
    ):
        with pytest.raises(RefusedError) as refused:
            check_own_template(bad)
        assert refused.value.reason == "template"
    check_template("https://qr.example/{roamingevseid}/{totp}/{version}")


def test_a_template_of_a_sticker_names_no_password() -> None:
    check_own_template("https://qr.example/{chargingstationid}", static=True)
    for bad in (TEMPLATE, "https://qr.example/", "https://qr.example/{evse}"):
        with pytest.raises(RefusedError):
            check_own_template(bad, static=True)
    sticker = QrCode(template="https://qr.example/{chargingstationid}", shared_secret="")
    assert decode("https://qr.example/CS1", sticker.template).totp == ""
    assert is_valid("", sticker, NOW)


@given(
    st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=20),
    st.integers(1, 99),
    st.integers(0, 10**6) | st.none(),
    st.decimals(0, 10**6, places=2) | st.none(),
)
def test_an_address_that_a_station_makes_is_read_by_the_back_end(
    station: str, evse: int, seconds: int | None, cost: object
) -> None:
    limit = TransactionLimit(max_time=seconds, max_cost=None if cost is None else float(str(cost)))
    url = address(CODE, {"chargingstationid": station, "evse": str(evse)}, NOW, limit)
    found = decode(url, TEMPLATE)
    assert (found.station_id, found.evse_id, found.limit or TransactionLimit()) == (station, evse, limit)
    assert is_valid(found.totp, CODE, NOW)
