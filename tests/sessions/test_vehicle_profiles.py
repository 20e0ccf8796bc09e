"""Whole sessions of the vehicle profiles: each discharges with exactly its power, or the charger's."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from evcc.config import EvccConfig, load_config
from evcc.session.settings import ProgramStep, ServiceConfig
from pki_tools.tree import PkiTree
from secc.session import ports as se
from secc.session.config import AcRating, EnergyService, EvseRating, SeccConfig
from tests.sessions.joined import Joined
from v2g.energy.limits import OPERATOR, SITE, Limit
from v2g.errors import ConfigError

pytestmark = pytest.mark.requirement("R14")

TLS = '[tls]\nchain = "c.pem"\nkey = "c.key"\nanchors = ["r.pem"]\n'
STRONG = SeccConfig(
    services=(EnergyService.AC_BPT, EnergyService.DC_BPT),
    rating=EvseRating(
        max_charge_power_w=350_000, max_charge_current_a=500, max_discharge_power_w=350_000, max_discharge_current_a=500
    ),
    ac_rating=AcRating(phases=1, max_charge_power_w=43_000, max_discharge_power_w=43_000),
)
"""A charger that allows more than any of the vehicles can."""
AC_11KW = SeccConfig(services=(EnergyService.AC_BPT,), ac_rating=AcRating(phases=1, max_discharge_power_w=11_000))
Discharge = Callable[..., tuple[Joined, float]]
GENEROUS = tuple(Limit(source=source, charge_w=400_000, discharge_w=400_000, version=1) for source in (SITE, OPERATOR))


def vehicle(name: str) -> EvccConfig:
    return load_config(f'profile = "{name}"\n{TLS}', name="evcc.toml")


@pytest.fixture
def discharge(pki: PkiTree) -> Discharge:
    """Return what runs a session in which a vehicle discharges 300 Wh: the pair, and the greatest power that flowed."""

    def run(config: EvccConfig, charger: SeccConfig, *, mode: str = "dynamic") -> tuple[Joined, float]:
        services = ServiceConfig(energy=config.services.energy, control_mode=(mode,))  # type: ignore[arg-type]
        session = replace(config, program=(ProgramStep(do="discharge", energy_wh=300),), services=services)
        joined = Joined(
            pki, time.time_ns() // 1_000_000, vehicle=session, charger=charger, battery=config.battery, limits=GENEROUS
        )
        joined.start()
        most_w = 0.0
        while not (joined.evcc.closed and joined.secc.closed):
            joined.advance()
            voltage_mv, current_ma = joined.plant.flow()
            most_w = max(most_w, -voltage_mv * current_ma / 1e6)
        return joined, most_w

    return run


def permitted(joined: Joined) -> int:
    """The most that the charger's hardware was commanded to let out of the vehicle, W."""
    outputs = [each for each in joined.secc_actions if isinstance(each, se.SetOutput | se.SetAcOutput)]
    return max(each.discharge_w for each in outputs)


@pytest.mark.parametrize(
    ("name", "power_w"), [("ac-11kw", 11_000), ("dc-60kw", 60_000), ("dc-62.5kw", 62_500), ("bench-200kw", 200_000)]
)
def test_a_vehicle_discharges_with_exactly_its_power(discharge: Discharge, name: str, power_w: int) -> None:
    joined, most_w = discharge(vehicle(name), STRONG)
    assert (joined.evcc_reason, joined.secc_reason) == ("finished", "finished")
    assert permitted(joined) == power_w
    assert most_w == pytest.approx(power_w, rel=1e-4)  # currents are whole mA
    assert joined.exported_mwh() >= 300_000
    assert joined.vehicle_saw("offer", "decided")[0]["max_discharge_w"] == power_w


@pytest.mark.parametrize("mode", ["dynamic", "scheduled"])
def test_200_kw_are_clipped_to_a_charge_point_of_11_kw(discharge: Discharge, mode: str) -> None:
    joined, most_w = discharge(vehicle("bench-200kw"), AC_11KW, mode=mode)
    assert joined.evcc_reason == "finished"
    assert joined.vehicle_saw("service", "selected")[0]["service"] == "AC_BPT"
    assert permitted(joined) == 11_000
    assert most_w == pytest.approx(11_000, abs=1)


def test_keys_of_the_file_have_precedence_over_those_of_the_profile(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text("[battery]\ncapacity_wh = 1_000\nsoc = 10.0\n")
    text = f'profile = "mine.toml"\n{TLS}[battery]\nsoc = 20.0\n'
    battery = load_config(text, name=str(tmp_path / "evcc.toml")).battery
    assert (battery.capacity_wh, battery.soc) == (1_000, 20.0)
    assert vehicle("dc-60kw").services.energy == ("DC_BPT", "DC")


@pytest.mark.parametrize(
    ("profile", "text", "said"),
    [
        ("submarine", "", "evcc.toml:1: profile: unknown vehicle 'submarine'"),
        ("../etc/passwd", "", "unknown vehicle"),
        ("none.toml", None, "none.toml"),
        ("bad.toml", "[battery", "not TOML"),
        ("bad.toml", "[battery]\ncapacity = 1", "battery.capacity"),
    ],
)
def test_a_profile_that_is_none_is_refused(tmp_path: Path, profile: str, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / profile.rpartition("/")[2]).write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_config(f'profile = "{profile}"\n{TLS}', name=str(tmp_path / "evcc.toml"))
