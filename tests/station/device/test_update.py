"""An update of a charger's firmware, from its CSMS's wish to the word after the restart (L01), over real sockets."""

import base64
import os
import signal
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from tests.secc.backend import backend
from tests.secc.station.station import Fixture
from tests.station.device.file_server import file_server
from tests.station.device.manufacturer import certificate, reported
from v2g_station.device.firmware import UpdateConfig

IMAGE = b"firmware 2"


@pytest.mark.requirement("R138", "R139", "R141")
async def test_a_charger_restarts_into_what_its_manufacturer_has_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it is night, or at once if the CSMS says so. Also into an older image, by which an operator goes back: the
    charger says so once it runs."""
    manufacturer, signer = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = tmp_path / "manufacturer.pem"
    root.write_text(certificate("Manufacturer", manufacturer, "Manufacturer", manufacturer))
    restarts: list[int] = []
    monkeypatch.setattr(os, "kill", lambda _pid, number: restarts.append(number))
    hour = datetime.now(UTC).hour
    window = f"{(hour + 2) % 24:02}:00-{(hour + 3) % 24:02}:00"
    update = UpdateConfig(slots=tmp_path / "slots", manufacturer_roots=(root,), window=window)
    with file_server() as server:
        server.files["/fw.bin"] = IMAGE
        firmware = {
            "location": f"{server.url}/fw.bin",
            "retrieve_date_time": "2026-01-01T00:00:00Z",
            "signing_certificate": certificate("Signer", signer, "Manufacturer", manufacturer),
            "signature": base64.b64encode(signer.sign(IMAGE, ec.ECDSA(hashes.SHA256()))).decode(),
        }
        stranger = firmware | {"signing_certificate": certificate("Signer", signer, "Signer", signer)}
        steps = ["Downloading", "Downloaded", "SignatureVerified", "Installing", "InstallRebooting"]
        async with backend() as csms:
            fixture = Fixture(tmp_path, csms.port, update=update)
            async with fixture.running() as station:
                await fixture.until(station.online.is_set)
                assert (
                    await csms.ask("UpdateFirmware", request_id=1, firmware=stranger)
                ).status == "InvalidCertificate"
                assert (await csms.ask("UpdateFirmware", request_id=2, firmware=firmware)).status == "Accepted"
                waits = [*steps[:3], "InstallScheduled"]
                await reported(csms, *waits)
                firmware["install_date_time"] = "2026-01-01T00:00:00Z"
                answer = await csms.ask("UpdateFirmware", request_id=3, firmware=firmware)
                assert answer.status == "AcceptedCanceled"
                await reported(csms, *waits, *steps)
                await fixture.until(lambda: restarts == [signal.SIGTERM])
                assert await station.drain(60)  # what nobody has answered would be sent again
            again = Fixture(tmp_path, csms.port, update=update, firmware="2.0")
            older = b"firmware 1"
            server.files["/older.bin"] = older
            back = firmware | {
                "install_date_time": "2026-01-01T00:00:00Z",
                "location": f"{server.url}/older.bin",
                "signature": base64.b64encode(signer.sign(older, ec.ECDSA(hashes.SHA256()))).decode(),
            }
            async with again.running() as station:
                await reported(csms, *waits, *steps, "Installed")
                assert (tmp_path / "slots" / "active").read_text() == "b"
                assert (await csms.ask("UpdateFirmware", request_id=4, firmware=back)).status == "Accepted"
                await reported(csms, *waits, *steps, "Installed", *steps)
                await again.until(lambda: len(restarts) == 2)
                assert await station.drain(60)
            async with Fixture(tmp_path, csms.port, update=update, firmware="1.0").running() as station:
                await reported(csms, *waits, *steps, "Installed", *steps, "Installed")
                assert await station.drain(60)
        changed = [each for each in csms.all("SecurityEventNotification") if each["type"] == "FirmwareUpdated"]
        assert [each["tech_info"] for each in changed] == [
            f"{version('v2g-engine')} to 2.0",
            "2.0 to 1.0, which is older",
        ]
    assert (tmp_path / "slots" / "active").read_text() == "a"
    assert (tmp_path / "slots" / "b" / "image").read_bytes() == IMAGE
