"""Fuzzes the readers of signed records of meters, and the judge of several."""

import contextlib
import json
from html import escape

from tests.energy.meter_records.signed_records import FOLDER, OCMF
from v2g.energy.meter_records.container import find_records
from v2g.energy.meter_records.judge import Expected, judge_all
from v2g.errors import CodecError


def signed_records(data: bytes) -> None:
    """A file of records is read or refused; each record gets a verdict to be shown, and no good one without a key."""
    with contextlib.suppress(CodecError):
        for each in judge_all(find_records(data), Expected()):
            assert each.reason.isprintable()
            assert all(remark.isprintable() for remark in each.remarks)
            assert each.verdict != "verified" or each.key_source in ("file", "record")
            assert each.verdict == "verified" or not each.energies


def signed_records_seeds() -> list[bytes]:
    """Return genuine records of every format, alone and with their keys."""
    rows = [json.loads(line) for line in (FOLDER / "others.jsonl").read_text().splitlines()]
    beside = [{"signedMeterData": row["record"], "publicKey": row["public_key_as_given"]} for row in OCMF]
    values = "".join(
        f'<value context="Transaction.End"><signedData>{escape(row["record"], quote=False)}</signedData>'
        f"<publicKey>{row['public_key']}</publicKey></value>"
        for row in rows
    )
    return [
        *(row["record"].encode() for row in (*OCMF, *rows)),
        *(json.dumps(each).encode() for each in beside),
        f"<values>{values}</values>".encode(),
        (FOLDER / "mennekes.xml").read_bytes(),
    ]


TARGETS = {"signed_records": (signed_records, signed_records_seeds)}
