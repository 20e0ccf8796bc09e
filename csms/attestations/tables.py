"""Attestation of stations: keys of their TPMs, and what they have proved last."""

from typing import Final

from sqlalchemy import BigInteger, Column, String, Table, Text

from csms.db.base import metadata

attestations: Final = Table(
    "attestations",
    metadata,
    Column("station_id", String(48), primary_key=True),
    Column("tpm_key", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reasons", Text, nullable=False),
    Column("nonce", String(64), nullable=False),
    Column("asked_ms", BigInteger, nullable=False),
    Column("verified_ms", BigInteger, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
)
