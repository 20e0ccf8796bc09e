"""The charger's configuration: what it refuses, and in which words."""

import pytest

from secc.config import load_config
from secc.editions import enabled
from v2g.errors import ConfigError

LEAST = """data_dir = "data"
[tls]
chain = "c.pem"
key = "c.key"
v2g_roots = ["v2g.pem"]
oem_roots = ["oem.pem"]
mo_roots = ["mo.pem"]
[meter]
chain = "m.pem"
key = "m.key"
"""


@pytest.mark.parametrize(("service", "kind"), [(3, "wpt"), (4, "acdp"), (7, "acdp")])
@pytest.mark.parametrize("place", ["charger", "evses.charger"])
def test_services_go_with_the_hardware_that_serves_them_and_with_no_other(service: int, kind: str, place: str) -> None:
    """A session that waits for a device that is not there helps nobody."""
    head = "[[evses]]\nevse_id = 'DEV2GE00001'\n" if place.startswith("evses") else ""
    alone, mixed = (f"{LEAST}{head}[{place}]\nservices = {each}\n" for each in ([service], [2, service]))
    hardware = f"[{place.removesuffix('charger')}hardware]\nkind = '{kind}'\n"
    for text, said in (
        (alone, f'which needs hardware.kind = "{kind}"'),
        (mixed, f'which needs hardware.kind = "{kind}"'),
        (mixed + hardware, f'has DC, which hardware.kind = "{kind}" cannot provide'),
        (alone + hardware + f"[{place.removesuffix('charger')}link]\nslac = {{}}\n", "remove link.slac"),
    ):
        with pytest.raises(ConfigError, match=said):
            load_config(text, name="secc.toml")
    (found,) = load_config(alone + hardware, name="secc.toml").places
    assert (found.hardware.kind, found.charger.services) == (kind, (service,))


def test_services_of_plugs_are_taken() -> None:
    config = load_config(f"{LEAST}[charger]\nservices = [1, 2, 5, 6, 8, 9]\n", name="secc.toml")
    assert len(config.charger.services) == 6


def test_an_edition_is_named_once_and_only_one_that_is_here_is_served() -> None:
    assert [*enabled(load_config(LEAST, name="secc.toml").charger)] == ["20"]
    for editions, said in (
        ('["2", "2"]', "twice"),
        ('["20", "din"]', "sdp.without_tls"),
        ('["15118"]', "editions"),
        ("[]", "editions"),
    ):
        with pytest.raises(ConfigError, match=said):
            load_config(f"{LEAST}[charger]\neditions = {editions}\n", name="secc.toml")
    every = load_config(
        f'{LEAST}[charger]\neditions = ["din", "20", "2"]\n[sdp]\nwithout_tls = true\n', name="secc.toml"
    ).charger
    assert [*enabled(every)] == ["din", "20", "2"]
