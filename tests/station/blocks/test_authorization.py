"""Authorizations that wait for a plug, or come from the cache."""

import pytest

from tests.station.bench import Bench
from tests.station.messages import message, put, shown
from v2g_station.blocks.evse import AllowPower


def bench(**info: object) -> Bench:
    """A station whose CSMS accepts every identifier with this information, and that has messages in two languages."""
    found = Bench(variables={"AuthCtrlr.LocalPreAuthorize": "true"})
    for action in ("Authorize", "TransactionEvent"):
        found.answers[action] = lambda _: {"idTokenInfo": {"status": "Accepted"} | info}
    for number, language in enumerate(("en", "de"), 1):
        assert put(found, number, message=message()["message"] | {"language": language}) == "Accepted"
    return found


@pytest.mark.parametrize("language", ["de", "de-CH", "DE"])
@pytest.mark.parametrize("evse_id", [1, None], ids=["at the EVSE", "before a plug"])
def test_messages_are_in_the_drivers_language(evse_id: int | None, language: str) -> None:
    """O01.FR.08."""
    found = bench(language1=language)
    assert shown(found) == [1, 2]
    found.present(evse_id=evse_id)
    found.plug(1)
    assert shown(found) == [2]


@pytest.mark.parametrize(
    ("languages", "chosen"),
    [(("fr", "de"), [2]), (("en", "de"), [1]), (("de", "en"), [2]), (("fr", "nl"), [1])],
)
def test_messages_are_in_the_second_language_of_a_driver_then_in_english(
    languages: tuple[str, str], chosen: list[int]
) -> None:
    """C01.FR.09, O01.FR.09."""
    found = bench(language1=languages[0], language2=languages[1])
    for _ in range(2):  # also from the cache
        found.present()
        found.plug()
        assert shown(found) == chosen
        found.unplug()


def test_a_cached_identifier_has_its_language() -> None:
    found = bench(language1="de")
    for _ in range(2):
        found.present()
        assert len(found.all("Authorize")) == 1
        found.plug()
        assert shown(found) == [2]
        found.unplug()
        assert shown(found) == [1, 2]


def test_a_cached_identifier_may_transfer_what_was_allowed() -> None:
    """Q01.FR.01."""
    found = Bench("2.1", variables={"AuthCtrlr.LocalPreAuthorize": "true"})
    found.answers["Authorize"] = {"idTokenInfo": {"status": "Accepted"}, "allowedEnergyTransfer": ["DC", "DC_BPT"]}
    for _ in range(2):
        found.present()
        found.plug()
        (allowed,) = [each for each in found.commands if isinstance(each, AllowPower) and each.allowed]
        assert allowed.energy_transfer == ("DC", "DC_BPT")
        found.unplug()
        found.commands.clear()
    assert len(found.all("Authorize")) == 1


def test_an_identifier_that_waits_for_a_plug_is_valid_at_its_evses_only() -> None:
    """IdTokenInfoType.evseId."""
    found = bench(evseId=[1])
    found.present(evse_id=None)
    found.plug(2)
    assert not found.allowed(2)
    found.plug(1)
    assert found.allowed(1)
