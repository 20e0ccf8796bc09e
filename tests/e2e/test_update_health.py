"""A charger confirms new firmware once its back end accepts it, or is back on the old one: charger and back end as
programs, slots as folders; what a boot loader does is a start of the program."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.update_site import UPDATE, Site
from tests.patient import kept_waiting_s

pytestmark = pytest.mark.e2e

LIMIT_S = 60.0
"""R135: from the start of new firmware to the old one, without time in which the charger could have run and did not."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "run")
    try:
        yield made
    finally:
        made.stop()


def kept_s(site: Site) -> float:
    """Return for how long (s) the charger could not run since its start."""
    assert site.secc.process is not None
    return kept_waiting_s(site.secc.process.pid)


@pytest.mark.long
@pytest.mark.requirement("R133", "R135", "R141")
def test_firmware_that_the_back_end_accepts_is_confirmed_in_time(site: Site) -> None:
    with site.config.open("a") as file:
        file.write(UPDATE)
    site.install()
    site.secc.start()
    began = time.monotonic()
    site.until(lambda: site.slot("active") == "b")
    assert time.monotonic() - began - kept_s(site) < LIMIT_S
    site.until(lambda: "Installed" in site.statuses())
    assert (site.slot("runs"), site.slot("once")) == ("b", "")


@pytest.mark.requirement("R133", "R135")
@pytest.mark.parametrize(
    "confirm_s", ["confirm_s = 3\n", pytest.param("", marks=pytest.mark.long)], ids=["short", "default"]
)
@pytest.mark.long
def test_firmware_that_no_back_end_accepts_is_gone_in_time(site: Site, confirm_s: str) -> None:
    """From the start of the new firmware to that of the old one; the back end learns of it when it is back."""
    with site.config.open("a") as file:
        file.write(UPDATE + confirm_s)
    site.install(killed=True)
    site.csms.stop(patience=5)
    site.secc.start()
    began = time.monotonic()
    site.until(lambda: site.slot("runs") == "b")
    kept = [0.0]

    def ended() -> bool:
        kept.append(kept_s(site))
        return site.secc.poll() is not None

    site.until(ended)
    assert site.slot("active") in ("", "a")
    site.secc.start()
    site.until(lambda: site.slot("runs") == "a")
    assert time.monotonic() - began - kept[-1] - kept_s(site) < LIMIT_S
    site.csms.start()
    site.until(lambda: "InstallationFailed" in site.statuses())
    assert "Installed" not in site.statuses()
