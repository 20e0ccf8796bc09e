"""Updates of a station's firmware."""

import base64
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.station.bench import Bench, at
from tests.station.certificates import ROOT, install, pem

IMAGE = b"firmware 2"
KEY = ec.generate_private_key(ec.SECP256R1())
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Firmware")])
CERTIFICATE = pem(ROOT.sign(NAME, KEY.public_key()))
SIGNATURE = base64.b64encode(KEY.sign(IMAGE, ec.ECDSA(hashes.SHA256()))).decode()


def update(found: Bench, number: int = 1, *, in_s: int = -7200, install_s: int | None = None, **more: Any) -> str:
    """Want an update."""
    install(found, "ManufacturerRootCertificate")
    firmware = {
        "location": "https://csms.example/fw.bin",
        "retrieveDateTime": at(found.utc_ms + in_s * 1000),
        "signingCertificate": CERTIFICATE,
        "signature": SIGNATURE,
    } | more
    if install_s is not None:
        firmware["installDateTime"] = at(found.utc_ms + install_s * 1000)
    firmware = {key: value for key, value in firmware.items() if value is not None}
    found.clear()
    status: str = found.ask("UpdateFirmware", requestId=number, firmware=firmware)["status"]
    return status
