"""Messages on a character display of ESC/POS, as a display reads them."""

from typing import Any

import pytest

from tests.hardware.line_display import Screen
from tests.together import together
from v2g.hardware.line_display import CodeTable, octets, pages, setup


def shown(about: dict[str, Any], table: CodeTable = "cp850") -> list[list[str]]:
    """What a display shows, page by page; each follows a full one."""
    found = []
    for page in pages(about, 20, 2):
        screen = Screen()
        screen.receive(setup(table) + octets(("x" * 20, "y" * 20), table) + octets(page, table))
        found.append(screen.text)
    return found


@together(
    ("about", "lines"),
    [
        ({}, [["", ""]]),
        ({"content": "Half price until six"}, [["Half price until six", ""]]),
        ({"content": "Free from\n8 to 9\x1b@\x0c"}, [["Free from 8 to 9 @", ""]]),
        ({"content": "Zwölf Cent für eine Kilowattstunde, heute"}, [["Zwölf Cent für eine", "Kilowattstunde,"],
                                                                    ["heute", ""]]),
        ({"content": "x" * 41}, [["x" * 20] * 2, ["x", ""]]),
        ({"content": "充电 1 €"}, [["?? 1 ?", ""]]),
        ({"content": "<p>A <b>&amp;</b> B</p>", "format": "HTML"}, [["A & B", ""]]),
        ({"content": "a <b> c", "format": "UTF8"}, [["a <b> c", ""]]),
        ({"content": "Free", "notice": {"word": "rejected", "text": ""}}, [["rejected", ""]]),
        ({"notice": {"word": "payment_failed", "text": ""}}, [["payment failed", ""]]),
        ({"notice": {"word": "cost_limit", "text": "No more than 5 EUR"}}, [["No more than 5 EUR", ""]]),
        ({"prices": [{"evse": 1, "tariff": "50 ct/kWh", "cost": ""}]}, [["50 ct/kWh", ""]]),
        ({"content": "Hi", "prices": [{"evse": 1, "tariff": "50 ct", "cost": "2.00 EUR"}]}, [["Hi", "2.00 EUR"]]),
        ({"prices": [{"evse": 1, "tariff": "50 ct", "cost": ""}, {"evse": 2, "tariff": "", "cost": "2.00 EUR"}],
          "qr_codes": []}, [["1: 50 ct", "2: 2.00 EUR"]]),
        ({"notice": {"word": "plug_in", "text": ""}, "prices": [{"evse": 1, "tariff": "50 ct", "cost": ""}]},
         [["plug in", ""]]),
        ({"qr_codes": [{"evse": 1, "url": "https://pay.example"}]}, [["", ""]]),
    ],
)  # fmt: skip
def test_a_message_becomes_pages(about: dict[str, Any], lines: list[list[str]]) -> None:
    assert shown(about) == lines


@pytest.mark.parametrize(
    ("table", "text"), [("cp1252", "5 €"), ("cp852", "Łódź"), ("cp866", "Москва"), ("cp858", "é€")]
)
def test_other_code_tables_have_other_characters(table: CodeTable, text: str) -> None:
    assert shown({"content": text}, table) == [[text, ""]]
