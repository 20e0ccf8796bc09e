"""Messages of the CSMS at the charger's display (functional block O)."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from secc.hardware.driver_guard import guarded
from tests.secc.backend import backend
from tests.secc.station.station import Fixture, sample
from tests.station.bench import Bench
from tests.station.web_payments import TEMPLATE
from tests.virtual_time import simulated
from tests.waiting import until
from v2g.hardware.interfaces import DriverDisplay
from v2g.io.hardware.driver import OnFailure
from v2g.observe import Observe
from v2g.ocpp.messages.base import MessageContent
from v2g.ocpp.messages.display import MessageInfo
from v2g_station.blocks.cost.local_cost import ShowCost
from v2g_station.blocks.cost.tariffs import ShowTariff
from v2g_station.blocks.display import ShowMessages
from v2g_station.blocks.evse import NoticeWord
from v2g_station.blocks.web_payment import ShowQrCode
from v2g_station.device.display import FINAL_S, NOTICE_S, DisplayConfig, StationDisplay


def message(number: int, text: str = "") -> MessageInfo:
    content = MessageContent(format="UTF8", language="en", content=text or f"text {number}")
    return MessageInfo(id=number, priority="NormalCycle", message=content)


def shown(file: Path) -> Any:
    return json.loads(file.read_text())


async def test_messages_take_turns_and_none_is_the_chargers_own_picture(tmp_path: Path) -> None:
    file = tmp_path / "display.json"
    reported: list[Observe] = []
    news = asyncio.Event()

    def observe(event: Observe) -> None:
        reported.append(event)
        news.set()

    display = StationDisplay(DisplayConfig(file=file, turn_s=0.001), observe)
    display.show(ShowMessages(messages=(message(1), message(2))))
    assert shown(file)["content"] == "text 1"
    async with asyncio.timeout(60):
        while len(reported) < 3:
            news.clear()
            await news.wait()
    assert [event.data["id"] for event in reported[:3]] == [1, 2, 1]
    display.show(ShowMessages(messages=(message(3),)))
    assert (shown(file)["id"], shown(file)["format"], shown(file)["extra"]) == (3, "UTF8", [])
    display.show(ShowMessages(messages=()))
    assert shown(file) == {}
    assert reported[-1].name == "cleared"
    await display.close()


async def test_a_display_may_be_a_command_that_gets_the_message_and_no_shell(tmp_path: Path) -> None:
    reported: list[Observe] = []
    code = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text(sys.stdin.read())"
    file = tmp_path / "shown"
    display = StationDisplay(DisplayConfig(command=(sys.executable, "-c", code, str(file))), reported.append)
    display.show(ShowMessages(messages=(message(1, "$(reboot)"),)))
    await until(lambda: file.exists() and file.read_text())
    assert shown(file)["content"] == "$(reboot)"
    await display.close()
    broken = StationDisplay(DisplayConfig(command=("false",)), reported.append)
    broken.show(ShowMessages(messages=(message(1),)))
    await until(lambda: reported[-1].name == "failed")
    assert reported[-1].data == {"error": "false exited with code 1"}


class Panel:
    """A display in the hand of its driver's maker."""

    def __init__(self) -> None:
        self.shown: list[Any] = []
        self.at_work, self.opened = asyncio.Event(), 0
        self.at_work.set()
        self.fails: Exception | None = None

    async def show(self, shown: Any) -> None:
        self.shown.append(shown.get("content"))
        if self.fails is not None:
            raise self.fails
        await self.at_work.wait()

    @asynccontextmanager
    async def open(self, failed: OnFailure) -> AsyncIterator[DriverDisplay]:
        self.opened += 1
        yield guarded(self, DriverDisplay, failed)


@simulated
async def test_a_slow_display_of_a_driver_gets_the_newest_next() -> None:
    panel = Panel()
    display = StationDisplay(DisplayConfig(driver="acme"), lambda _: None, panel=panel.open)
    display.show(ShowMessages(messages=(message(1),)))
    display.start()
    await asyncio.sleep(0.1)
    panel.at_work.clear()
    for number in (2, 3, 4):
        display.show(ShowMessages(messages=(message(number),)))
        await asyncio.sleep(0.1)
    panel.at_work.set()
    await asyncio.sleep(0.1)
    assert panel.shown == ["text 1", "text 2", "text 4"]
    await display.close()


@pytest.mark.parametrize("hangs", [False, True], ids=["raises", "hangs"])
@simulated
async def test_a_display_that_fails_is_opened_again_and_reported_once(hangs: bool) -> None:
    reported: list[Observe] = []
    panel = Panel()
    display = StationDisplay(DisplayConfig(driver="acme"), reported.append, panel=panel.open)
    display.start()
    display.show(ShowMessages(messages=(message(1),)))
    if hangs:
        panel.at_work.clear()
    else:
        panel.fails = ZeroDivisionError("\x1b[31m")
    await asyncio.sleep(60)
    assert panel.opened > 2
    (failed,) = [each.data["error"] for each in reported if each.name == "failed"]
    said = "no result within 10 s" if hangs else "ZeroDivisionError: \\u001b[31m"
    assert failed == f"DriverDisplay.show: {said}"
    panel.fails = None
    panel.at_work.set()
    await asyncio.sleep(30)
    del panel.shown[:]
    display.show(ShowMessages(messages=(message(2),)))
    await asyncio.sleep(0.1)
    assert panel.shown == ["text 2"]
    panel.fails = ZeroDivisionError("\x1b[31m")
    await asyncio.sleep(30)
    assert sum(each.name == "failed" for each in reported) == 1, "it has not drawn since"
    display.show(ShowMessages(messages=(message(3),)))
    await asyncio.sleep(30)
    assert sum(each.name == "failed" for each in reported) == 2, "a second loss, after it has worked"
    await display.close()


async def test_a_file_that_cannot_be_written_is_reported_and_no_more(tmp_path: Path) -> None:
    reported: list[Observe] = []
    StationDisplay(DisplayConfig(file=tmp_path / "none" / "display.json"), reported.append).show(
        ShowMessages(messages=(message(1),))
    )
    assert [event.name for event in reported] == ["shown", "failed"]


async def test_the_charger_shows_what_its_csms_wants_while_it_charges(tmp_path: Path) -> None:
    file = tmp_path / "display.json"
    async with backend() as csms:
        fixture = Fixture(tmp_path, csms.port, display=DisplayConfig(file=file))
        async with fixture.running() as station:
            await fixture.until(station.online.is_set)
            text = {"format": "UTF8", "content": "Half price until six"}
            wanted = {"id": 7, "priority": "NormalCycle", "state": "Charging", "message": text}
            assert (await csms.ask("SetDisplayMessage", message=wanted)).status == "Accepted"
            assert not file.exists()
            station.started("session-1", "DE1")
            station.updated("session-1", trigger="ChargingStateChanged", charging_state="Charging", sample=sample(1))
            assert shown(file)["content"] == "Half price until six"
            station.ended("session-1", trigger="StopAuthorized", reason="Local")
            assert shown(file) == {}


def test_another_text_under_the_same_number_is_shown() -> None:
    found = Bench()

    def put(text: str) -> None:
        body = {"id": 1, "priority": "NormalCycle", "message": {"format": "UTF8", "content": text}}
        assert found.ask("SetDisplayMessage", message=body)["status"] == "Accepted"

    put("one")
    put("two")
    texts = [each.messages[0].message.content for each in found.commands if isinstance(each, ShowMessages)]
    assert texts == ["one", "two"]


@simulated
async def test_qr_codes_and_what_became_of_a_wish_stand_beside_the_message(tmp_path: Path) -> None:
    """C25.FR.01: a code stands there until it is another one, or none."""
    file = tmp_path / "display.json"
    reported: list[Observe] = []
    notices: dict[NoticeWord, str] = {"timeout": "Zu spät"}
    display = StationDisplay(DisplayConfig(file=file, draws_qr_codes=True, notices=notices), reported.append)
    assert display.draws_codes
    display.code(ShowQrCode(evse_id=2, url="https://pay/2"))
    display.code(ShowQrCode(evse_id=1, url="https://pay/1", quality="High"))
    display.code(ShowQrCode(evse_id=1, url="https://pay/1b", quality="High"))
    display.show(ShowMessages(messages=(message(3),)))
    display.notice(1, "timeout")
    assert shown(file)["notice"] == {"evse": 1, "word": "timeout", "text": "Zu spät"}
    display.notice(1, "timeout", "come back")
    assert shown(file)["notice"] == {"evse": 1, "word": "timeout", "text": "Zu spät: come back"}
    display.notice(1, "rejected", "call us")
    assert shown(file)["notice"] == {"evse": 1, "word": "rejected", "text": "rejected: call us"}
    display.notice(2, "web_payment")
    assert shown(file)["content"] == "text 3"
    assert shown(file)["notice"] == {"evse": 2, "word": "web_payment", "text": ""}
    assert shown(file)["qr_codes"] == [
        {"evse": 1, "url": "https://pay/1b", "quality": "High"},
        {"evse": 2, "url": "https://pay/2", "quality": "Medium"},
    ]
    display.code(ShowQrCode(evse_id=1, url=None))
    await asyncio.sleep(NOTICE_S)
    assert [each["evse"] for each in shown(file)["qr_codes"]] == [2]
    assert "notice" not in shown(file)
    codes = [(event.data["evse"], event.data["shown"]) for event in reported if event.name == "qr_code"]
    assert codes == [(2, True), (1, True), (1, False)], "a new password is no news"
    await display.close()


@simulated
async def test_tariff_and_cost_of_each_evse_stand_beside_the_message(tmp_path: Path) -> None:
    file = tmp_path / "display.json"
    reported: list[Observe] = []
    display = StationDisplay(DisplayConfig(file=file), reported.append)

    def cost(total: float | None, evse_id: int | None = 1, *, final: bool = False, text: str = "") -> str:
        display.cost(ShowCost(evse_id=evse_id, transaction_id="a", total=total, currency="EUR", final=final, text=text))
        return str(shown(file)["prices"][0]["cost"])

    display.tariff(ShowTariff(evse_id=1, tariff_id="T1", text="50 ct/kWh"))
    display.tariff(ShowTariff(evse_id=2, tariff_id="", text=""))
    assert shown(file)["prices"] == [{"evse": 1, "tariff": "50 ct/kWh", "cost": ""}]
    assert [cost(1.1 + 2.2), cost(None, text="Hello"), cost(2, text="so far")] == [
        "3.30 EUR",
        "Hello",
        "2.00 EUR: so far",
    ]
    assert cost(9, None) == "2.00 EUR: so far", "it is no longer of this EVSE's driver"
    assert reported == []
    assert cost(4.5, final=True) == "4.50 EUR"
    assert [(each.name, each.data) for each in reported] == [("cost", {"evse": 1, "text": "4.50 EUR"})]
    await asyncio.sleep(FINAL_S - 1)
    assert cost(0.25) == "0.25 EUR"
    await asyncio.sleep(FINAL_S)
    assert shown(file)["prices"][0]["cost"] == "0.25 EUR", "the next driver's"
    cost(1, final=True)
    await asyncio.sleep(FINAL_S)
    assert shown(file)["prices"] == [{"evse": 1, "tariff": "50 ct/kWh", "cost": ""}]
    await display.close()


async def test_the_charger_shows_its_driver_the_cost(tmp_path: Path) -> None:
    """I02, I05."""
    file = tmp_path / "display.json"
    async with backend() as csms:
        fixture = Fixture(tmp_path, csms.port, display=DisplayConfig(file=file))
        async with fixture.running() as station:
            await fixture.until(station.online.is_set)
            name = station.started("session-1", "DE1")
            await csms.ask("CostUpdated", transaction_id=name, total_cost=1.25)
            assert shown(file)["prices"] == [{"evse": 1, "tariff": "", "cost": "1.25 EUR"}]


async def test_a_charger_whose_display_draws_codes_offers_payment_on_the_web(tmp_path: Path) -> None:
    file = tmp_path / "display.json"
    async with backend() as csms:
        fixture = Fixture(tmp_path, csms.port, display=DisplayConfig(file=file, draws_qr_codes=True))
        async with fixture.running() as station:
            await fixture.until(station.online.is_set)
            values = {"URLTemplate": TEMPLATE, "Enabled": "true"}
            for name, value in values.items():
                component, variable = {"name": "WebPaymentsCtrlr"}, {"name": name}
                data = {"attribute_value": value, "component": component, "variable": variable}
                answer = await csms.ask("SetVariables", set_variable_data=[data])
                assert answer.set_variable_result[0]["attribute_status"] == "Accepted"
            assert shown(file)["qr_codes"][0]["url"].startswith(TEMPLATE[: TEMPLATE.index("{")])
            station.started("session-1", "DE1")
            assert "qr_codes" not in shown(file)
