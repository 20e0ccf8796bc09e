"""`v2g pki show` and `verify`: content of a tree or file, and verification of chains."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text
from rich.tree import Tree as RichTree

from v2g.errors import CertificateError, ConfigError, RevocationError
from v2g_cli.output import print_json, print_table, say, say_row, terminal
from v2g_cli.pki.common import JsonFlag, generation_of, now, role_of, when

if TYPE_CHECKING:
    from pki_tools.show import TreeLine
    from v2g.pki.revocation import RevocationFinding

_COLOURS = {"valid": "green", "due": "yellow", "replaced": "cyan", "not_yet_valid": "yellow"}


def show(
    file: Annotated[Path, typer.Argument(metavar="DIR|FILE", help="Folder of a PKI, or PEM chain or DER certificate.")],
    role: Annotated[str, typer.Option(help="Check the first certificate against this role's profile.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Also list replaced and expired certificates.")] = False,
    json: JsonFlag = False,
) -> None:
    """Show a tree with every certificate below its issuer, or the content of a certificate file.

    Examples: `v2g pki show certs/lab`, `v2g pki show certs/lab/secc/chain.pem --role secc`

    For a file: names, validity, keys, and matching profiles; exit code 4 when --role is given and the first
    certificate does not match it. For a tree: days left, due renewals, revocations.
    """
    if file.is_dir():
        from pki_tools.index import load_index
        from pki_tools.show import overview

        lines = overview(file, load_index(file), at=now(), everything=everything)
        if json:
            for line in lines:
                print_json(line)
        elif sys.stdout.isatty():
            terminal().print(_drawn(str(file), lines))
        else:
            for line in lines:
                name, *others = _words(line)
                say_row("  " * line.depth + name, *others)
    else:
        from pki_tools.judge import read_certificates
        from pki_tools.show import describe

        wanted = role_of(role) if role else None
        rows = describe(read_certificates(file), at=now(), role=wanted)
        if json:
            for row in rows:
                print_json(row)
        else:
            print_table(
                str(file),
                ("subject", "issuer", "valid", "key", "bytes", "matches profile"),
                (
                    (
                        row.subject,
                        row.issuer,
                        f"{row.not_before:%Y-%m-%d} to {row.not_after:%Y-%m-%d} ({row.state})",
                        f"{row.key}, {row.signature}",
                        str(row.size),
                        ", ".join(r.value for r in row.fits) or "none",
                    )
                    for row in rows
                ),
            )
        if rows and rows[0].problem:
            say(f"{file}: not a {role} certificate: {rows[0].problem}", err=True)
            raise typer.Exit(4)


def _words(line: "TreeLine") -> tuple[str, ...]:
    """Return name, common name, expiry and state of a certificate, and its related files."""
    end = f"until {line.not_after:%Y-%m-%d}, {line.days} days" if line.days >= 0 else f"ended {line.not_after:%Y-%m-%d}"
    state = line.state.replace("_", " ")
    if line.revoked_at is not None:
        state += f" {line.revoked_at:%Y-%m-%d} ({line.reason or 'unspecified'})"
    beside = []
    if not line.key:
        beside.append("key elsewhere")
    for word, until in (("CRL", line.crl_until), ("OCSP answer", line.ocsp_until)):
        if until is not None:
            beside.append(f"{word} {'until' if until >= now() else 'ran out'} {until:%Y-%m-%d}")
    return line.name, line.common_name, end, state, *beside


def _drawn(title: str, lines: "Sequence[TreeLine]") -> RichTree:
    root = RichTree(Text(title, style="bold"))
    branches = [root]
    for line in lines:
        name, common_name, end, state, *beside = _words(line)
        colour = _COLOURS.get(line.state, "red")
        text = Text.assemble((name, "bold"), f"  {common_name}  ", (f"{end}  {state}", colour))
        if beside:
            text.append("  " + ", ".join(beside), "red" if any("ran out" in each for each in beside) else "dim")
        del branches[line.depth + 1 :]
        branches.append(branches[line.depth].add(text))
    return root


def verify(
    file: Annotated[Path, typer.Argument(help="Chain, leaf first: PEM, or one DER certificate.")],
    role: Annotated[str, typer.Option(help="Expected role of the leaf: secc, vehicle, contract, ...")],
    root: Annotated[list[Path] | None, typer.Option("--root", help="Trusted root, PEM or DER; repeatable.")] = None,
    tree: Annotated[Path | None, typer.Option("--tree", help="Trust the roots of this PKI and check its CRLs.")] = None,
    cross: Annotated[list[Path] | None, typer.Option("--cross", help="Cross certificate; repeatable.")] = None,
    ocsp: Annotated[Path | None, typer.Option("--ocsp", help="OCSP answer (DER) about the leaf.")] = None,
    crl: Annotated[list[Path] | None, typer.Option("--crl", help="Revocation list, PEM or DER; repeatable.")] = None,
    at: Annotated[str, typer.Option("--at", help="Verify as of this time (ISO 8601); default: now.")] = "",
    interop: Annotated[bool, typer.Option("--interop", help="Accept certificates of ISO 15118-2 peers.")] = False,
    generation: Annotated[str, typer.Option(help="Profiles of iso15118-20 or iso15118-2.")] = "iso15118-20",
    json: JsonFlag = False,
) -> None:
    """Verify a chain for a role; if it is invalid, report the violated rule.

    Examples: `v2g pki verify secc/chain.pem --role secc --root v2g/root.pem --ocsp secc/ocsp.der`,
    `v2g pki verify certs/lab/contract/chain.pem --role contract --tree certs/lab`

    Exit code 4 if invalid: the message begins with the rule's code (`expired`, `unknown_root`, `revoked`, ...).
    """
    from pki_tools.index import load_index
    from pki_tools.judge import ChainCase, judge, read_certificates, read_file, read_lists, tree_anchors, tree_lists

    wanted, profiles = role_of(role), generation_of(generation)
    anchors = [der for path in root or () for der in read_certificates(path)]
    lists = list(read_lists(crl or ()))
    if tree is not None:
        index = load_index(tree)
        anchors += tree_anchors(tree, index)
        lists += tree_lists(tree, index)
    if not anchors:
        raise ConfigError("no root to trust", hint="--root FILE or --tree DIR")
    try:
        case = ChainCase(
            chain=read_certificates(file),
            anchors=anchors,
            role=wanted,
            crosses=[der for path in cross or () for der in read_certificates(path)],
            ocsp=read_file(ocsp) if ocsp else None,
            crls=lists,
            interop=interop,
            generation=profiles,
        )
        found = judge(case, at=when(at) if at else now())
    except (CertificateError, RevocationError) as error:
        _print_refusal(file, wanted.value, error, json=json)
        raise typer.Exit(4) from None
    revocation = [f"{each.source or 'no source'}: {each.reason or 'good'}" for each in found.findings]
    if json:
        ends = {"not_after": found.not_after, "revocation": revocation}
        print_json({"file": str(file), "role": found.role.value, "verdict": "trusted", "path": found.path, **ends})
        return
    say(f"{file}: valid as {found.role.value} until {found.not_after:%Y-%m-%d}")
    for place, subject in enumerate(found.path):
        asked = f"  ({_revocation(found.findings[place])})" if place < len(found.findings) else "  (trusted)"
        say(f"  {subject}{asked}")


def _print_refusal(file: Path, role: str, error: CertificateError | RevocationError, *, json: bool) -> None:
    message = str(error).removeprefix(f"{file}: ")
    if json:
        record = {"file": str(file), "role": role, "verdict": "refused", "reason": error.reason}
        print_json(record | {"message": message, "hint": error.hint})
        return
    say(f"{file}: {error.reason}: {message}", err=True)
    if error.hint:
        say(f"  {error.hint}", err=True)


def _revocation(found: "RevocationFinding") -> str:
    return f"revocation, {found.source}: {found.reason or 'good'}" if found.source else "revocation not checked"


def lint(
    file: Annotated[Path, typer.Argument(help="Chain, leaf first: PEM, or one DER certificate.")],
    role: Annotated[str, typer.Option(help="Role of the leaf: secc, contract, ...; else the one that fits best.")] = "",
    root: Annotated[list[Path] | None, typer.Option("--root", help="Trusted root, PEM or DER; repeatable.")] = None,
    edition: Annotated[
        str, typer.Option(help="Exit with 4 if peers of this one refuse: iso15118-2, iso15118-20.")
    ] = "",
    json: JsonFlag = False,
) -> None:
    """List everything that is wrong with a chain, for peers of both editions and by what the field refuses.

    Example: `v2g pki lint certs/lab/secc/chain.pem --root certs/lab/v2g/root.pem`

    `tolerated`: only peers take it that do not insist on the profile. Without --root the root is not judged. Exit code
    4 when no edition's peers take the chain, or not those of --edition.
    """
    from pki_tools.judge import read_certificates
    from v2g.pki.lint import LEAVES
    from v2g.pki.lint import lint as lint_chain

    wanted, judged_as = generation_of(edition).value if edition else "", role_of(role) if role else None
    if judged_as is not None and judged_as not in LEAVES:
        raise ConfigError(f"{role} is no leaf", hint=f"known: {', '.join(each.value for each in LEAVES)}")
    anchors = [der for each in root or () for der in read_certificates(each)]
    found = lint_chain(read_certificates(file), anchors, role=judged_as, at=now())
    if json:
        print_json(found)
    else:
        for name, verdict in found.verdicts.items():
            why = f": {found.refusals[name]}" if name in found.refusals else ""
            say(f"{found.role.value} by {name}: {verdict}{why}")
        for each in found.findings:
            where = "leaf" if each.place == 0 else f"CA {each.place}"
            say(f"  {where}  {each.edition or 'field':11}  {each.rule}: {each.text}")
    judged = [verdict for name, verdict in found.verdicts.items() if wanted in ("", name)]
    if all(verdict == "refused" for verdict in judged):
        raise typer.Exit(4)
