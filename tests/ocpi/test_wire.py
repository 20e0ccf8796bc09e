"""Both versions are written from one form and read back; what partners send wrongly is tolerated or is one error."""

import base64
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.together import together
from v2g.errors import OcpiError
from v2g.ocpi import wire
from v2g.ocpi.objects import (
    CdrLocation,
    CdrPeriod,
    OcpiConnector,
    OcpiLocation,
    OcpiPrice,
    OcpiProfile,
    OcpiTariff,
    OcpiToken,
    PriceBound,
    TariffRestrictions,
)

pytestmark = pytest.mark.requirement("R202")


def test_a_price_has_two_forms() -> None:
    price = wire.plain(OcpiPrice(before_taxes=Decimal("1.00"), taxes=()))
    assert wire.outer(price, "2.3.0") == {"before_taxes": Decimal("1.00"), "taxes": ()}
    assert wire.outer(price, "2.2.1") == {"excl_vat": Decimal("1.00"), "incl_vat": Decimal("1.00")}
    old = {"total_cost": {"excl_vat": "1.0", "incl_vat": 1.19}, "min_price": {"excl_vat": 1, "incl_vat": 2}}
    found = wire.inner(wire.decode(wire.encode(old)))
    assert found == {
        "total_cost": {"before_taxes": Decimal("1.0"), "taxes": [{"name": "VAT", "amount": Decimal("0.19")}]},
        "min_price": {"before_taxes": 1, "after_taxes": 2},
    }
    again = wire.outer(found, "2.2.1")
    assert again["total_cost"]["incl_vat"] == Decimal("1.19")  # type: ignore[index]
    assert again["min_price"] == {"excl_vat": 1, "incl_vat": 2}  # type: ignore[index]


def test_older_partners_get_what_they_know() -> None:
    connector = {
        "id": "1",
        "standard": "SAE_J3400",
        "power_type": "DC",
        "capabilities": ["ISO_15118_20_PLUG_AND_CHARGE"],
    }
    location = {"evses": [
        {"uid": "a", "capabilities": ["RESERVABLE"], "connectors": [connector],
         "parking_restrictions": ["EV_ONLY", "TAXI"]},
        {"uid": "b", "connectors": [{**connector, "standard": "MCS"}]},
    ], "help_phone": "1"}  # fmt: skip
    found = wire.outer(location, "2.2.1")
    assert found == {"evses": [{"uid": "a", "capabilities": ["RESERVABLE"], "connectors": [
        {"id": "1", "standard": "TESLA_S", "power_type": "DC"}], "parking_restrictions": ["EV_ONLY"]}]}  # fmt: skip
    assert wire.outer(location, "2.3.0") == location
    assert wire.outer({"connector_standard": "SAE_J3400"}, "2.2.1") == {"connector_standard": "TESLA_S"}


def test_names_of_sockets_that_have_small_letters_are_read_as_they_are() -> None:
    connector = {
        "id": 1, "standard": "IEC_60309_2_three_32", "format": "socket", "power_type": "AC_3_PHASE", "max_voltage": 230,
        "max_amperage": 32, "last_updated": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    found = wire.read(connector, OcpiConnector)
    assert (found.id, found.standard, found.format) == ("1", "IEC_60309_2_three_32", "SOCKET")
    assert wire.read({**connector, "standard": "iec_62196_t2"}, OcpiConnector).standard == "IEC_62196_T2"


def test_currencies_and_units_in_small_letters_are_read() -> None:
    tariff = {
        "country_code": "nl", "party_id": "tnm", "id": "1", "currency": "eur", "last_updated": "2026-01-01T00:00:00Z",
        "elements": [{"price_components": [{"type": "energy", "price": 1, "step_size": 1}],
                      "restrictions": {"day_of_week": ["monday"]}}],
    }  # fmt: skip
    found = wire.read(tariff, OcpiTariff)
    assert (found.currency, found.elements[0].price_components[0].type) == ("EUR", "ENERGY")
    assert found.elements[0].restrictions == TariffRestrictions(day_of_week=("MONDAY",))
    profile = {"charging_rate_unit": "w", "charging_profile_period": []}
    assert wire.read(profile, OcpiProfile).charging_rate_unit == "W"


def test_readers_are_tolerant() -> None:
    token = {
        "country_code": "nl", "party_id": "tnm", "uid": "A", "type": "NEW_TYPE", "contract_id": "C", "issuer": "I",
        "valid": "true", "whitelist": "SOMETIMES", "last_updated": "2026-01-01T00:00:00", "unknown": {"x": 1},
    }  # fmt: skip
    found = wire.read(wire.inner(token), OcpiToken)
    assert found.valid is True
    assert wire.utc_ms(found.last_updated) == wire.read_time("2026-01-01T00:00:00.000Z")
    with pytest.raises(OcpiError, match=r"\$\.uid"):
        wire.read({**token, "uid": "x" * 37}, OcpiToken)


@together("number", ["NaN", "sNaN", "Infinity", "-inf", "1E+999999", "1e11"])
def test_a_text_that_is_no_number_of_use_is_refused(number: str) -> None:
    with pytest.raises(OcpiError, match="is not a number"):
        wire.read({"start_date_time": "2026-01-01T00:00:00Z", "dimensions": [{"type": "ENERGY", "volume": number}]},
                  CdrPeriod)  # fmt: skip


def test_a_time_after_the_last_year_is_refused() -> None:
    assert wire.read_time("9999-12-31T23:59:59Z") == 253_402_300_799_000
    with pytest.raises(OcpiError, match="is not a time"):
        wire.read_time("9999-12-31T23:59:59-01:00")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (r"a\u0000b", "a\ufffdb"),
        (r"\ud83d\uDE00 \ud83d", "\U0001f600 \ufffd"),
        (r"\ude00\ud83d\u0041", "\ufffd\ufffdA"),
        (r"\\u0000\\ud83d\n", "\\u0000\\ud83d\n"),
    ],
)
def test_what_is_no_text_is_replaced(said: str, meant: str) -> None:
    """One name that was cut within a character stopped a list of a thousand places."""
    assert wire.decode(f'{{"name":"{said}"}}'.encode()) == {"name": meant}


@together("written", ["1e300", "1e11", "-1e300", "1e-300", "1e999999999", "1" + 400 * "0"])
def test_a_number_out_of_range_is_of_its_object_alone(written: str) -> None:
    for name, kind in (("before_taxes", OcpiPrice), ("excl_vat", OcpiPrice), ("before_taxes", PriceBound)):
        page = wire.inner(wire.decode(f'[{{"{name}": {written}}}, {{"{name}": 0.25, "incl_vat": 0.3}}]'.encode()))
        assert isinstance(page, list)
        with pytest.raises(OcpiError, match="is not a number"):
            wire.read(page[0], kind)
        assert wire.read(page[1], kind).before_taxes == Decimal("0.25")


@given(
    st.binary()
    | st.text().map(str.encode)
    | st.integers(1, 5000).map(lambda depth: b"[" * depth + b"]" * depth)
    | st.just(b'{"a":1e999999999}')
)
def test_any_bytes_are_values_or_one_error(data: bytes) -> None:
    try:
        found = wire.inner(wire.decode(data))
        wire.outer(found, "2.2.1")
        wire.read(found, OcpiLocation)
    except OcpiError as error:
        assert error.code == 2001  # noqa: PT017  a value is as good


@given(st.dictionaries(st.sampled_from(["offset", "limit", "date_from", "date_to", "after"]), st.text(max_size=30)))
def test_any_query_is_a_list_or_one_error(query: dict[str, str]) -> None:
    try:
        asked = wire.list_query(query)
    except OcpiError as error:
        assert error.code == 2001  # noqa: PT017  a value is as good
    else:
        assert 1 <= asked.limit <= wire.MOST_LISTED


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=64))
def test_a_token_is_found_in_either_writing(token: str) -> None:
    for bare in (True, False):
        assert token in wire.tokens_in(wire.authorization(token, bare=bare))
    assert wire.authorization(token, bare=False) == "Token " + base64.b64encode(token.encode()).decode()
    assert wire.tokens_in(f"Bearer {token}") == []
    assert wire.tokens_in("Token dG9rZW4tYg") == ["token-b", "dG9rZW4tYg"]  # without padding


@pytest.mark.parametrize(
    ("said", "ms"),
    [
        ("2023-11-14", 1_699_920_000_000), ("2023-11-14T22:13:20", 1_700_000_000_000),
        ("2023-11-14 22:13:20Z", 1_700_000_000_000), ("2023-11-15T00:13:20.5 02:00", 1_700_000_000_500),
    ],
)  # fmt: skip
def test_times_of_lists_are_read_as_partners_write_them(said: str, ms: int) -> None:
    assert wire.list_query({"date_from": said}).from_ms == ms


def test_links_are_written_and_read() -> None:
    query = {"date_from": "2026-01-01T00:00:00Z", "limit": "5"}
    asked = wire.list_query(query)
    position = 1_700_000_000_000, "x~y"
    url = wire.link_of(wire.next_link("https://a.test/ocpi/cpo/2.2.1/cdrs", query, asked, position, 77))
    assert url is not None
    again = wire.list_query(wire.query_of(url.partition("?")[2]))
    assert (again.offset, again.limit, again.from_ms, again.after) == (5, 5, asked.from_ms, position)
    assert (asked.total, again.total) == (None, 77)
    assert wire.link_of('<https://a.test/1>; rel="prev", <https://a.test/2>; rel=next') == "https://a.test/2"
    assert wire.link_of("nonsense") is None


def test_envelopes() -> None:
    body = wire.envelope([{"a": Decimal("1.10")}], 1_700_000_000_123)
    assert body == (
        b'{"data":[{"a":1.10}],"status_code":1000,"status_message":"Success","timestamp":"2023-11-14T22:13:20Z"}'
    )
    assert wire.opened(body) == wire.opened(b"\xef\xbb\xbf" + body) == ([{"a": Decimal("1.10")}], 1_700_000_000_000)
    with pytest.raises(OcpiError, match="2003 unknown") as error:
        wire.opened(b'{"status_code":"2003","status_message":"unknown"}')
    assert error.value.code == 2003
    for wrong in (b"", b"[]", b"{}", b'{"status_code":null}', b'{"status_code":"%s"}' % (b"9" * 5000)):
        with pytest.raises(OcpiError):
            wire.opened(wrong)


PLACE: Mapping[str, Any] = {
    "country_code": "DE", "party_id": "ABC", "id": "L1", "publish": True, "address": "a", "city": "c", "country": "DEU",
    "coordinates": {"latitude": "52.5", "longitude": "13.4"}, "time_zone": "Europe/Berlin",
    "last_updated": "2026-01-01T00:00:00Z", "evses": [{
        "uid": "E", "status": "AVAILABLE", "last_updated": "2026-01-01T00:00:00Z", "connectors": [{
            "id": "1", "standard": "IEC_62196_T2", "format": "SOCKET", "power_type": "AC_3_PHASE", "max_voltage": 230,
            "max_amperage": 32, "last_updated": "2026-01-01T00:00:00Z"}]}],
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"coordinates": {"latitude": 52.5, "longitude": 13.4}},
        {"opening_times": {"twentyfourseven": False, "regular_hours": [
            {"weekday": 1, "period_begin": "8:00", "period_end": "24:00"}]}},
        {"postal_code": "D-10115 Berlin", "help_phone": ""},
        {"last_updated": "2026-01-01T00:00:00,000Z"},
        {"evses": [{**PLACE["evses"][0], "status": "available", "evse_id": "", "connectors": [
            {**PLACE["evses"][0]["connectors"][0], "id": 1, "format": "socket", "max_amperage": 32.5}]}]},
    ],
    ids=["numbers", "hours", "texts", "comma", "evse"],
)  # fmt: skip
def test_a_place_is_read_as_its_partner_means_it(change: Mapping[str, Any]) -> None:
    sent = wire.decode(json.dumps({**PLACE, **change}).encode())
    assert wire.read(wire.inner(sent), OcpiLocation) == wire.read(wire.inner(dict(PLACE)), OcpiLocation)


def test_floats_and_an_evse_that_was_removed_keep_no_place_back() -> None:
    """One EVSE without connectors, or a coordinate as 52.37403059999999, refused a location, and a CDR with it."""
    evses = [*PLACE["evses"], {**PLACE["evses"][0], "uid": "R", "status": "REMOVED", "connectors": []}]
    found = wire.read({**PLACE, "evses": evses}, OcpiLocation)
    assert [(each.uid, len(each.connectors)) for each in found.evses] == [("E", 1), ("R", 0)]
    where = {"latitude": Decimal("52.37403059999999"), "longitude": "-4.892345678901234"}
    sent = {
        **PLACE, "coordinates": where, "evse_id": "", "connector_id": "1", "connector_standard": "IEC_62196_T2",
        "connector_format": "SOCKET", "connector_power_type": "AC_3_PHASE",
    }  # fmt: skip
    assert (
        wire.read(sent, CdrLocation).coordinates == wire.read({**PLACE, "coordinates": where}, OcpiLocation).coordinates
    )


@pytest.mark.parametrize(
    "change",
    [{"id": ""}, {"publish": "perhaps"}, {"coordinates": {"latitude": True, "longitude": "13.4"}}, {"id": "Ä"}],
)
def test_a_place_that_has_no_meaning_is_refused(change: Mapping[str, Any]) -> None:
    with pytest.raises(OcpiError):
        wire.read({**PLACE, **change}, OcpiLocation)
