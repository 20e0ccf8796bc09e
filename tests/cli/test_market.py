"""The market of a demo: it bids what the fleet can do, once that is planned."""

from pathlib import Path
from typing import Any

from v2g_cli.demo.folder import RunFolder
from v2g_cli.demo.market import DemoMarket
from v2g_cli.demo.operator import Operator
from v2g_cli.demo.scenario import SCENARIOS

RANGE = {"start_ms": 0, "end_ms": 1 << 50, "up_w": 10_000}
WORTH = {"break_even_per_kwh": {"amount": "0.30", "currency": "EUR"}}
QUANTILES = {"low": 1_000, "middle": 2_000, "high": 3_000}


class Planning(Operator):
    """A back end that has planned the vehicle when it is asked for the third time."""

    capabilities = (
        {"ranges": [], "bids": []}, {"ranges": [RANGE], "bids": []}, {"ranges": [RANGE], "bids": [WORTH]},
    )  # fmt: skip

    def of_fleet(self, fleet_id: str, what: str) -> Any:
        """Return the next capability."""
        if what == "forecast":
            return {"quarters": [{"at_ms": 0, "load_w": QUANTILES, "up_w": QUANTILES}]}
        Planning.capabilities, (found,) = self.capabilities[1:], self.capabilities[:1]
        return found

    def bid(self, fleet_id: str, start_ms: int, end_ms: int, power_w: int, price: str) -> dict[str, Any]:
        """Take a bid."""
        return {"power_w": power_w, "price_per_kwh": {"amount": price}, "gate_closure_ms": start_ms}


def test_a_bid_waits_until_the_fleet_is_planned(tmp_path: Path) -> None:
    scenario = next(each for each in SCENARIOS if each.name == "bid")
    market = DemoMarket(RunFolder(tmp_path, scenario, 1.0), "fleet", lambda *_: None)
    market.operator = Planning(0, tmp_path, "")
    assert not market.go_on()
    assert not market.go_on()
    assert "bid" not in market.record
    assert not market.go_on(), "it is called when its time has come"
    assert market.record["bid"]["power_w"] == 7_000
    assert market.record["bid"]["price_per_kwh"]["amount"] == "0.35"
