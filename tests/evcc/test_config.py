"""The vehicle's configuration file: documented keys, defaults that hold together, errors that help."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from evcc.app import tls_profiles
from evcc.config import EvccConfig, TlsConfig, load_config
from tests.together import together
from v2g.errors import ConfigError
from v2g.pki.reference import KeyReference

TLS = '[tls]\nchain = "c.pem"\nkey = "c.key"\nanchors = ["r.pem"]\n'

EXAMPLE = """
security_profile = "interop"

[vehicle]
evcc_id = "WMIV1234567890ABCDEX"

[link]
interface = "lo"
medium = "medium"

[tls]
chain = "pki/vehicle/chain.pem"
key = "pki/vehicle/leaf.key"
anchors = ["pki/v2g/root.pem"]

[contract]
chain = "pki/contract/chain.pem"
key = "pki/contract/leaf.key"

[battery]
capacity_wh = 77000
soc = 35.5
ocv = [[0, 300], [50, 360], [100, 405]]

[needs]
departure_after_s = 14400
target_soc = 70
minimum_soc = 20

[discharge]
minimum_compensation = 0.25
minimum_soc = 30

[timers]
message_scale = 2.0

[clock]
scale = 200.0

[[program]]
do = "charge"
energy_wh = 3000

[[program]]
do = "discharge"
for_s = 1800
power_w = 7000
"""


def test_an_example_is_read() -> None:
    config = load_config(EXAMPLE, name="evcc.toml")
    assert config.battery.ocv[1] == (50, 360)
    assert config.discharge.minimum_compensation == Decimal("0.25")
    assert config.discharge.minimum_compensation_micro == 250_000
    assert config.timers.message_scale == 2.0
    assert config.clock.scale == 200


def test_everything_but_the_certificates_has_a_default() -> None:
    config = load_config(TLS, name="/etc/v2g/evcc.toml")
    key = KeyReference.from_text("c.key", Path("/etc/v2g"))
    assert config == EvccConfig(
        tls=TlsConfig(
            chain=Path("/etc/v2g/c.pem"),
            key=key,
            anchors=(Path("/etc/v2g/r.pem"),),
        )
    )


@together(
    ("text", "said"),
    [
        ("[discharge]\nminimum_sock = 3\n", "evcc.toml:2: unknown key 'discharge.minimum_sock'"),
        ("[timing]\nloop_pause_s = 0.4\n", "evcc.toml:2"),
        ("[needs]\ntarget_soc = 20\nminimum_soc = 30\n", "needs.minimum_soc"),
        ("security_profile = 'none'\n", "evcc.toml:1"),
        ("[services]\nenergy = []\n", "evcc.toml:2"),
        (f"[services]\nenergy = ['DC', 'WPT']\n{TLS}", "exclude each other"),
        (f"[services]\nenergy = ['DC_ACDP', 'WPT']\n{TLS}", "exclude each other"),
        (f"[link.slac]\n[services]\nenergy = ['WPT']\n{TLS}", "WPT has no plug to match at"),
        (f"[hardware]\nbackend = 'bench'\n[services]\nenergy = ['DC_ACDP_BPT']\n{TLS}", "DC_ACDP_BPT needs hardware"),
        ("[battery]\nocv = [[0, 300], [100, 200]]\n", "ocv must rise"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(text, name="evcc.toml")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("profile", "revocation", "expected"),
    [
        ("iso15118-20", None, "hard"),
        ("interop", None, "soft"),
        ("interop", "hard", "hard"),
        ("iso15118-20", "soft", "soft"),
    ],
)
def test_a_stapled_answer_is_demanded_as_the_profile_says_or_as_configured(
    profile: Any, revocation: Any, expected: str
) -> None:
    here = Path()
    files = TlsConfig(chain=here, key=KeyReference.of(here), anchors=(here,), revocation=revocation)
    config = EvccConfig(security_profile=profile, tls=files)
    assert tls_profiles(config)[0].revocation.value == expected
