"""A simulated meter that signs its readings as OCMF, with a key of its own until the program ends."""

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from v2g.energy.settlement.ocmf import Assignment, MeterIdentity, Reading, sign_readings
from v2g.pki.keys import SoftwareKey
from v2g_station.blocks.transactions.transactions import MeterSample, SignedReading


class SigningMeter:
    """Signs samples. `serial` is its number, `evse_id` the EVSE that it measures."""

    def __init__(self, serial: str, evse_id: int) -> None:
        self._identity = MeterIdentity(meter_serial=serial)
        self._assignment = Assignment(emaid=None, evse_id=str(evse_id))
        secret = ec.generate_private_key(ec.SECP256R1())
        self._key = SoftwareKey(secret)
        self._public = secret.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self._pages = 0

    def signed(self, sample: MeterSample) -> tuple[SignedReading, ...]:
        """Return the import register of a sample, signed."""
        self._pages += 1
        reading = Reading(sample.utc_ms, sample.import_mwh)
        data = sign_readings(
            "import",
            [("C", reading)],
            identity=self._identity,
            assignment=self._assignment,
            pagination=self._pages,
            key=self._key,
        )
        return (SignedReading(register="import", data=data, public_key=self._public),)
