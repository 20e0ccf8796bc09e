"""Our own vehicle, configured as the page about testing vehicles says, passes every quick case."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "test-a-charger-or-vehicle.md"


@pytest.mark.long
def test_our_vehicle_passes_by_the_configuration_of_the_page(tmp_path: Path) -> None:
    config = PAGE.read_text().partition("<!-- file: evcc.toml -->\n```toml\n")[2].partition("```")[0]
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as free:
        free.bind(("::", 0))
        port = str(free.getsockname()[1])
    assert "port = 8443" in config
    (tmp_path / "evcc.toml").write_text(config.replace("port = 8443", f"port = {port}"))
    (tmp_path / "evcc.toml").chmod(0o600)
    words = ["--pki", "pki", "--sdp-port", port, "--wait", "60", "--quick", "--json", "--start"]
    vehicle = "exec v2g evcc --config evcc.toml 2>> evcc.log"
    path = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(["v2g", "pki", "make", "pki"], cwd=tmp_path, env=path, check=True, capture_output=True)
    run = subprocess.run(
        ["v2g", "conform", "evcc", *words, vehicle], cwd=tmp_path, env=path, check=False, capture_output=True, text=True
    )
    *results, end = [json.loads(line) for line in run.stdout.splitlines()]
    assert [each for each in results if each["verdict"] != "pass"] == []
    assert end["totals"]["pass"] == 108
