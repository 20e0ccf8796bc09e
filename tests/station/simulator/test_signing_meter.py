"""A simulated meter that signs: what it signs is verified by its public key."""

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from v2g.energy.settlement.ocmf import signed_readings
from v2g_station.blocks.transaction_records import MeterSample
from v2g_station.simulator.fleet import SigningMeter


def test_each_reading_is_signed() -> None:
    meter = SigningMeter("SIM1-1", 1)
    for register in (1_000, 2_000):
        (found,) = meter.signed(MeterSample(utc_ms=1_700_000_000_000, import_mwh=register, export_mwh=0))
        key = load_der_public_key(found.public_key)
        assert isinstance(key, ec.EllipticCurvePublicKey)
        (reading,) = signed_readings(found.data, key)
        assert (found.register, reading.reading.register_mwh) == ("import", register)
