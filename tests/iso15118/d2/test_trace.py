"""Messages of ISO 15118-2 and DIN 70121 in traces: named by their bodies, without contract keys."""

import json
from pathlib import Path

from v2g.iso15118 import trace
from v2g.iso15118.d2.charts import Session2
from v2g.iso15118.din.charts import SessionDin
from v2g.iso15118.engine.v2g_message import decode_message

VECTORS = Path(__file__).parents[2] / "vectors" / "exi"


def described(file: str, schema: object) -> list[tuple[str, trace.Described]]:
    """Return every document of a file of vectors by the name of its message, as a trace has it."""
    found = []
    for line in (VECTORS / file).read_text().splitlines():
        vector = json.loads(line)
        if not vector["fragment"]:
            payload = bytes.fromhex(vector["exi_hex"])
            decode = lambda _type, octets: decode_message(octets, schema, handshake=False)  # type: ignore[arg-type] # noqa: E731
            found.append((vector["message"], trace.describe(0x8001, payload, decode)))
    return found


def test_every_message_is_named_by_its_body() -> None:
    for file, session in (("iso2.jsonl", Session2), ("din70121.jsonl", SessionDin)):
        messages = described(file, session.schema)
        assert len({name for name, _ in messages}) > 30
        for name, each in messages:
            assert not each.error
            assert each.name == name


def test_sealed_contract_keys_are_withheld() -> None:
    for name, each in described("iso2.jsonl", Session2.schema):
        sealed = name in ("CertificateInstallationRes", "CertificateUpdateRes")
        assert bool(each.withheld) == sealed
        assert "EncryptedPrivateKey" not in json.dumps(each.body, default=str)
