"""`v2g demo --console`: after the session a person logs in, and sees a fleet that charges and feeds back."""

import http.client
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import pytest

from v2g_cli.demo.world import FORGER, LIAR, SITES, SPEED

PATIENCE_S = 300


@pytest.mark.long
@pytest.mark.e2e
def test_the_console_of_a_demo_stays_open_with_a_fleet_in_both_directions(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = ("demo", "--console", "--open-for", "10", "--time-scale", "900", "--folder", str(folder))
    command = [sys.executable, "-m", "v2g_cli", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        said = ""
        while "the password" not in said:
            line = demo.stdout.readline()
            assert line, said
            said += line
        (port,) = re.findall(r"https://localhost:(\d+)/", said)
        (password,) = re.findall(r"log in as admin with the password (\S+)", said)
        trusted = ssl.create_default_context(cafile=folder / "pki/csms/root.pem")
        client = http.client.HTTPSConnection("localhost", int(port), context=trusted, timeout=60)
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
        client.request("POST", "/console/login", urlencode({"name": "admin", "password": password}), headers)
        answer = client.getresponse()
        answer.read()
        cookie = str(answer.headers["Set-Cookie"]).split(";")[0]
        into = out = False
        deadline = time.monotonic() + PATIENCE_S
        while not (into and out):
            assert time.monotonic() < deadline, "vehicles charge and feed back"
            client.request("GET", "/console", headers={"Cookie": cookie})
            page = client.getresponse().read().decode()
            sums = re.findall(r"(?:Into|Out of) vehicles</a></dt><dd class=[^>]*>([\d.,\u2009]+)\u00a0kW", page)
            assert len(sums) == 2, "no other page: no password has to be changed first"
            into, out = into or float(sums[0]) > 0, out or float(sums[1]) > 0
            time.sleep(1)
        client.close()
        demo.send_signal(signal.SIGINT)
        assert demo.wait(PATIENCE_S) == 0


class Reader:
    """A person who has logged in to the console of a demo."""

    def __init__(self, said: str, folder: Path) -> None:
        (port,) = re.findall(r"https://localhost:(\d+)/", said)
        (password,) = re.findall(r"log in as admin with the password (\S+)", said)
        trusted = ssl.create_default_context(cafile=folder / "pki/csms/root.pem")
        self._client = http.client.HTTPSConnection("localhost", int(port), context=trusted, timeout=60)
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
        form = urlencode({"name": "admin", "password": password})
        self._client.request("POST", "/console/login", form, headers)
        answer = self._client.getresponse()
        answer.read()
        self._cookie = str(answer.headers["Set-Cookie"]).split(";")[0]

    def close(self) -> None:
        """Close the browser."""
        self._client.close()

    def read(self, path: str) -> str:
        """Return a page's text."""
        self._client.request("GET", path, headers={"Cookie": self._cookie})
        page = self._client.getresponse().read().decode()
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


EXPECTED = (
    "cell_spread", "money_quarantined", "campaign_halted", "update_failed", "station_offline", "limit_not_obeyed",
    "data_silent",
)  # fmt: skip
"""Kinds of alerts in the world."""

BUSY = ("fuse_overloaded", "grid_limit_exceeded")
"""Those that also come where commands and readings take seconds, as the machine has much else to do."""


@pytest.mark.long
@pytest.mark.e2e
def test_the_world_has_three_sites_and_what_goes_wrong_on_a_bad_day_and_no_more(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "v2g_cli", "demo", "--world", "--open-for", "15", "--folder", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        said = ""
        while "the password" not in said:
            line = demo.stdout.readline()
            assert line, said
            said += line
        ada, seen, kinds = Reader(said, folder), set[str](), set[str]()
        wanted = {
            "Cells of EV-1 are 0.09": "/console/alerts", "stations lost their connection": "/console/alerts",
            "Sessions on hold at Werkstatt-2": "/console/alerts", "4.2.1 Halted": "/console/campaigns",
            "Lindenhof 48.172, 11.532": "/console/map", "40 of 40": "/console/vehicles",
            "site Lindenhof may have 60.0 kW from": "/console/sites/Lindenhof",
        }  # fmt: skip
        over = time.monotonic() + 86_400 / SPEED
        try:
            while time.monotonic() < over or wanted.keys() - seen:
                assert time.monotonic() < over + PATIENCE_S, wanted.keys() - seen
                pages = {path: ada.read(path).replace("\u00a0", " ") for path in set(wanted.values())}
                seen |= {text for text, path in wanted.items() if text in pages[path]}
                chosen = re.search(r"Kind all (.*?) Site all", pages["/console/alerts"])
                kinds |= set(chosen[1].split()) if chosen else set()
                time.sleep(1)
            held = ada.read("/console/quarantine")
        finally:
            ada.close()
            demo.send_signal(signal.SIGINT)
        assert LIAR in held
        assert FORGER in held
        assert not [site for site in SITES if f"{site}-" in held], "no honest session is on hold"
        busy = max(os.getloadavg()) > 2 * (os.cpu_count() or 1)
        assert kinds <= {*EXPECTED, *(BUSY if busy else ())}, "no false alert"
        assert demo.wait(PATIENCE_S) == 0
