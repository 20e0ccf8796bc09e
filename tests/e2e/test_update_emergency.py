"""An emergency of the grid postpones a campaign: a VTN, a back end and stations as programs (R138)."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from v2g_cli.demo.timeline import Timeline
from v2g_cli.demo.update import UpdateRun
from v2g_cli.demo.vtn import SECRET, DemoVtn

pytestmark = pytest.mark.e2e


class Grid(DemoVtn):
    """A VTN that publishes emergencies."""

    def publish_emergency(self, duration: timedelta, event_id: str = "") -> str:
        """Publish an emergency from now on, or change one; return its id."""
        now = datetime.now(UTC)
        event = {
            "programID": self._program,
            "eventName": "emergency",
            "intervalPeriod": {"start": f"{now:%Y-%m-%dT%H:%M:%SZ}", "duration": f"PT{duration.seconds}S"},
            "intervals": [{"id": 0, "payloads": [{"type": "ALERT_GRID_EMERGENCY", "values": ["frequency"]}]}],
        }
        return str(self._vtn.put("events", event, event_id)["id"])


class Run(UpdateRun):
    """A run whose back end follows a VTN."""

    vtn: Grid

    def _csms_config(self, update: str) -> Path:
        config = super()._csms_config(update)
        (self.folder / "vtn.secret").touch(mode=0o600)
        (self.folder / "vtn.secret").write_text(SECRET)
        with config.open("a") as file:
            file.write(
                f"""[grid]
currency = "EUR"
import_limit_w = 50000
export_limit_w = 9000
[grid.openadr]
url = "http://127.0.0.1:{self.vtn.port}"
client_id = "ven_client"
client_secret_file = "vtn.secret"
ven_name = "demo-depot"
poll_interval_s = 1
"""
            )
        return config

    def stop(self) -> None:
        """End all programs."""
        super().stop()
        self._client.close()

    def named(self, name: str) -> list[dict[str, Any]]:
        """Return what the back end has reported under a name."""
        self.read()
        return [each.data for each in self.events if each.name == name]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    made = Run(tmp_path / "run", Timeline(time.monotonic(), "json"), 2)
    made.vtn = Grid(lambda: int(datetime.now(UTC).timestamp() * 1000))
    try:
        made.maker.release("fw-2.bin", 2, b"2.0\n")
        made.start()
        yield made
    finally:
        made.stop()
        made.vtn.stop()


@pytest.mark.long
@pytest.mark.requirement("R138")
def test_an_emergency_postpones_a_campaign_until_it_is_over(run: Run) -> None:
    """The station that an operator wants now is updated all the same, the other one when the VTN ends the event."""
    first, second = run.names
    event = run.vtn.publish_emergency(timedelta(hours=2))
    run.until("the back end has read the event", lambda: run.named("openadr_alert"))
    plan = {"image": run.image("fw-2.bin", b"2.0\n"), "cohorts": [1.0], "daily": 1.0, "window": None, "watch_s": 0}
    body = {"name": "2.0", "plan": plan, "station_ids": run.names}
    path = f"/campaigns/{run.ask('POST', '/campaigns', body)['campaign_id']}"

    def states() -> dict[str, str]:
        return {each["station_id"]: each["state"] for each in run.ask("GET", path)["members"]}

    run.ask("POST", f"{path}/force", {"station_ids": [first]})
    run.until("the forced station is updated", lambda: states()[first] == "Installed")
    assert states()[second] == "Waiting"
    assert [each["station"] for each in run.named("firmware_status") if each["status"] == "Installed"] == [first]
    run.vtn.publish_emergency(timedelta(seconds=1), event)
    run.until("the other one is updated", lambda: states()[second] == "Installed")
    assert run.versions() == {first: "2.0", second: "2.0"}
    run.until("the campaign ends", lambda: run.ask("GET", path)["state"] == "Finished")
