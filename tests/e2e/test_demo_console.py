"""`v2g demo --console`: after the session a person logs in, and sees a fleet that charges and feeds back."""

import http.client
import re
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlencode

import pytest

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
            sums = re.findall(r"(?:Into|Out of) vehicles.*?<dd>([\d.,\u2009]+)\u00a0kW", page, re.DOTALL)
            assert len(sums) == 2, "no other page: no password has to be changed first"
            into, out = into or float(sums[0]) > 0, out or float(sums[1]) > 0
            time.sleep(1)
        client.close()
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 0
