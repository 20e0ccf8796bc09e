"""`v2g settle`: verifies a settlement bundle offline, and shows its content."""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from v2g.energy.settlement.records import MOST_REACTION_MS
from v2g.errors import Asn1Error, ConfigError, VerificationError
from v2g_cli.output import print_json, print_table, say

app = typer.Typer(
    help="Verify and show the settlement of a charging session.", no_args_is_help=True, rich_markup_mode="markdown"
)
Bundle = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a settlement bundle.")]
Roots = Annotated[
    list[Path] | None, typer.Option("--root", help="PEM file of a trusted root; default: the roots in the bundle.")
]
_ANY_REACTION_MS = 3_600_000
"""The default for showing, which does not verify against it."""

JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON record per line.")]


def _anchors(roots: list[Path] | None) -> tuple[bytes, ...] | None:
    from v2g.pki.credentials import load_chain

    if not roots:
        return None
    try:
        return tuple(der for root in roots for der in load_chain(root))
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from None


Reaction = Annotated[
    float,
    typer.Option("--max-reaction", min=0, max=3600, help="Longest reaction time that the charger may claim, s."),
]


class Required(Enum):
    """What energy fed back must be backed by."""

    NOTHING = "nothing"
    SIGNED = "signed"


@app.command()
def verify(
    directory: Bundle,
    root: Roots = None,
    reaction: Reaction = MOST_REACTION_MS / 1000,
    require: Annotated[
        Required, typer.Option("--require", help="signed: reject energy fed back without signed commands.")
    ] = Required.NOTHING,
    independent: Annotated[
        bool, typer.Option("--independent", help="Also decode every signed message with asn1tools (extra [verify]).")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Recompute everything in a bundle: hash chain, signatures, registers, intervals, prices, certificate chains.

    Example: `v2g settle verify runs/TIME/secc/settlements/SESSION --root pki/v2g/root.pem --root pki/mo/root.pem`

    Exit code 9 if any check fails; the message names file and line.
    """
    from v2g.energy.settlement.bundle import verify_bundle
    from v2g.io.storage.journal_file import read_files
    from v2g.iso15118.d20.metering import read_confirmation

    files = read_files(directory)
    report = verify_bundle(
        files,
        anchors=_anchors(root),
        now=datetime.now(UTC),
        confirmations=read_confirmation,
        most_reaction_ms=round(reaction * 1000),
        signed_only=require is Required.SIGNED,
    )
    read_twice = _read_independently(files) if independent else None
    if json:
        print_json({"directory": str(directory), "verified": True, "report": report, "independent": read_twice})
        return
    for line in report.lines():
        say(line)
    if independent:
        say(f"{read_twice} signed messages read alike by asn1tools, by the published module V2GDischarge.asn")
    say(f"{directory}: verified")


def _read_independently(files: Mapping[str, bytes]) -> int:
    """Return how many signed messages a verified bundle holds; each is also decoded by asn1tools.

    Raises VerificationError.
    """
    from v2g.asn1.published import check_signed
    from v2g.energy.settlement.bundle import JOURNAL
    from v2g.energy.settlement.journal import verify_lines
    from v2g.energy.settlement.proof import signed_messages

    count = 0
    for where, payload in signed_messages(verify_lines(files[JOURNAL])):
        try:
            check_signed(payload)
        except Asn1Error as error:
            raise VerificationError(str(error), where=where) from None
        count += 1
    return count


@app.command()
def show(directory: Bundle, json: JsonFlag = False) -> None:
    """Verify a bundle and show its intervals and priced lines.

    Example: `v2g settle show runs/TIME/secc/settlements/SESSION`
    """
    from v2g.energy.settlement.bundle import verify_bundle
    from v2g.io.storage.journal_file import read_files
    from v2g.iso15118.d20.metering import read_confirmation

    files = read_files(directory)
    settlement = verify_bundle(files, confirmations=read_confirmation, most_reaction_ms=_ANY_REACTION_MS).settlement
    if json:
        for line in settlement.lines:
            print_json(line)
        return
    print_table(
        f"Session {settlement.session_id}",
        ("interval (UTC)", "direction", "kWh", "price per kWh", "amount"),
        (
            (
                f"{datetime.fromtimestamp(line.start_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}",
                line.direction,
                f"{line.energy_mwh / 1e6:.6f}",
                "none" if line.price is None else f"{line.price / 1e6:.6f}",
                f"{line.amount / 1e6:.6f} {line.currency}",
            )
            for line in settlement.lines
        ),
    )
