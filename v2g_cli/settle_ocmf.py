"""`v2g settle ocmf`: verdicts on signed meter readings of any make."""

import sys
from codecs import BOM_UTF8
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from v2g.errors import CodecError, ConfigError, VerificationError
from v2g_cli.output import print_json, read_file, say

if TYPE_CHECKING:
    from v2g.energy.meter_records.judge import RecordJudgement
    from v2g.energy.meter_records.keys import MeterKey

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")

OWN_KEY_ONLY = 10
"""Exit code for records that are verified, some of them only by a key that came with them."""

_SAID: Final = {
    "verified": "verified",
    "invalid": "signature invalid",
    "unreadable": "unreadable",
    "incomplete": "incomplete",
    "unsupported": "unsupported algorithm",
    "no_key": "no key",
    "other_meter": "other meter",
    "other_transaction": "other transaction",
    "reordered": "reordered",
}

_SOURCES: Final = {
    "file": "by the key in its file only, which is not known from elsewhere",
    "record": "by the key in the record only, which is not known from elsewhere",
}


@app.command()
def verify(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", help="Records as text, XML of the transparency software, or OCPP messages; -"
        ),
    ],
    key: Annotated[
        list[str] | None,
        typer.Option(
            "--key",
            help="The meter's public key or certificate, or a file that has it; several if any may have signed.",
        ),
    ] = None,
    meter: Annotated[str, typer.Option("--meter", help="Serial number of the meter that must have signed.")] = "",
    transaction: Annotated[
        str, typer.Option("--transaction", help="Transaction that the records must name: page (T12), session or id.")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="One JSON record per line.")] = False,
) -> None:
    """Verify signed meter readings of any make: OCMF, Alfen, EDL40, ISA-EDL40, PCDF.

    The energy is that between the readings that a record marks as begin and end. Records of one transaction may be in
    several files, in order.

    Example: `v2g settle ocmf verify session.xml --key 3059301306072A8648CE3D02...`

    Exit code 9 if a record is not verified. 10 if all are, but some only by a key that came with them.
    """
    from v2g.energy.meter_records.container import find_records
    from v2g.energy.meter_records.judge import Expected, judge_all

    found = []
    for path in files:
        data = sys.stdin.buffer.read() if str(path) == "-" else read_file(path)
        try:
            records = find_records(data)
        except CodecError as error:
            raise CodecError(f"{path}: {error}", hint=error.hint) from None
        found += [msgspec.structs.replace(each, place=f"{path}: {each.place}") for each in records]
    keys = tuple(_key(each) for each in key or ())
    judged = judge_all(found, Expected(keys=keys, meter=meter, transaction=transaction))
    for each in judged:
        if json:
            print_json(_fields(each))
        else:
            for line in _lines(each):
                say(line)
    wrong = sum(each.verdict != "verified" for each in judged)
    if wrong:
        hint = "--key KEY, the meter's public key" if any(each.verdict == "no_key" for each in judged) else ""
        raise VerificationError(f"{wrong} of {len(judged)} records not verified", where=str(files[0]), hint=hint)
    if any(each.key_source != "given" for each in judged):
        raise typer.Exit(OWN_KEY_ONLY)


def _key(written: str) -> "MeterKey":
    """Return a key that is written in the option, or in a file that it names. Raises ConfigError."""
    from v2g.energy.meter_records.keys import read_key

    text = written
    try:
        is_file = Path(written).is_file()
    except (OSError, ValueError):  # too long for a name, as keys are
        is_file = False
    if is_file:
        data = read_file(Path(written)).removeprefix(BOM_UTF8)
        text = data.decode() if data.isascii() else data.hex()
    try:
        return read_key(text)
    except CodecError as error:
        where, missing = (f"--key: {written}", "") if is_file else ("--key", "; no file has this name")
        hint = f"base64, hex or PEM of the key or its certificate, or a file with it{missing}"
        raise ConfigError(f"{where}: {error}", hint=hint) from None


def _lines(judged: "RecordJudgement") -> list[str]:
    verdict = _SAID[judged.verdict]
    if judged.verdict == "verified" and judged.key_source in _SOURCES:
        verdict = f"verified {_SOURCES[judged.key_source]}"
    head = f"{judged.place}: {verdict}" + (f": {judged.reason}" if judged.reason else "")
    lines = [head]
    if (record := judged.record) is not None:
        page, serials = f" {record.label}" if record.label else "", ", ".join(record.serials) or "unnamed"
        lines.append(f"  {record.format}{page}, meter {serials}" + (f", user {record.user}" if record.user else ""))
    for each in judged.energies:
        doubt = "" if each.usable else "; not usable: the meter marks an error, or the register fell"
        between = f"{_plain(each.begin_wh)} to {_plain(each.end_wh)} Wh"
        lines.append(
            f"  {each.register or 'unnamed register'} {each.direction or ''}".rstrip()
            + f": {_plain(each.wh)} Wh ({between}){doubt}"
        )
    return [*lines, *(f"  note: {each}" for each in judged.remarks)]


def _fields(judged: "RecordJudgement") -> dict[str, object]:
    place, _, number = judged.place.rpartition(": record ")
    record = judged.record
    return {
        "file": place,
        "record": int(number),
        "verdict": judged.verdict,
        "reason": judged.reason,
        "key": judged.key_source,
        "remarks": judged.remarks,
        "format": record and record.format,
        "meter": record and record.serials,
        "page": record and record.label,
        "session": record and record.session,
        "user": record and record.user,
        "readings": [
            {**msgspec.structs.asdict(each), "wh": None if each.wh is None else _plain(each.wh)}
            for each in (record.readings if record is not None else ())
        ],
        "energy": [
            {
                "register": each.register,
                "direction": each.direction,
                "begin_wh": _plain(each.begin_wh),
                "end_wh": _plain(each.end_wh),
                "energy_wh": _plain(each.wh),
                "usable": each.usable,
            }
            for each in judged.energies
        ],
    }


def _plain(wh: Decimal) -> str:
    """Return a number without exponent and without zeros that say nothing."""
    text = f"{wh:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
