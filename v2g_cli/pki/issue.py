"""`v2g pki csr`, `issue`, `renew`, `revoke`, `staple` and `crl`: change a tree that is in use."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2g.errors import ConfigError
from v2g_cli.output import or_stdout, print_json, say, tell
from v2g_cli.pki.common import (
    Days,
    JsonFlag,
    Name,
    Out,
    SealedFile,
    Shares,
    Tree,
    keys_of,
    kind_of,
    now,
    progress,
    role_of,
    when,
    write_out,
)
from v2g_cli.pki.keys import reference_of

if TYPE_CHECKING:
    from pki_tools.issuing import Issued

RoleName = Annotated[str, typer.Option("--role", help="Role of the certificate: secc, contract, cpo_sub1, ...")]
CommonName = Annotated[str, typer.Option("--cn", help="Common name: SECCID, EVCCID, EMAID, station, host.")]
Hosts = Annotated[list[str] | None, typer.Option("--host", help="Host name or address of a server; repeatable.")]
Kind = Annotated[str, typer.Option("--key-kind", help="secp521r1, ed448, secp256r1; otherwise the tree's.")]
Request = Annotated[
    Path | None, typer.Option("--csr", help="Certificate signing request (PKCS #10, PEM or DER) from the key's owner.")
]


def csr(
    key: Annotated[
        str, typer.Option("--key", help="Private key: file (created with mode 0600 if missing) or key URI.")
    ],
    role: RoleName,
    cn: CommonName,
    out: Out = None,
    organization: Annotated[str, typer.Option("--organization", help="O of the subject.")] = "V2G Engine Operator",
    country: Annotated[str, typer.Option("--country", help="C of the subject, two letters.")] = "",
    host: Hosts = None,
    key_kind: Kind = "secp521r1",
    json: JsonFlag = False,
) -> None:
    """Make a certificate request (PKCS #10) for another authority to sign.

    Example: `v2g pki csr --role secc --cn DEV2GS00000000000000000000000000000001X --key secc.key --out secc.csr`
    """
    from pki_tools.authority import new_key
    from pki_tools.issuing import make_request
    from v2g.io.keys.foreign import as_private_key
    from v2g.io.keys.pins import read_pin
    from v2g.io.keys.stores import open_key
    from v2g.pki.issue import Subject
    from v2g.pki.keys import save_key

    kind, wanted, reference = kind_of(key_kind), role_of(role), reference_of(key)
    assert kind is not None
    new = reference.path if reference.path is not None and not reference.path.exists() else None
    private = new_key(kind, wanted) if new is not None else as_private_key(open_key(reference))
    subject = Subject(common_name=cn, organization=organization or None, country=country or None)
    request = make_request(private, wanted, subject, host or ())
    if new is not None:
        try:
            new.parent.mkdir(parents=True, exist_ok=True)
            save_key(new, private, read_pin(reference.pin))
        except OSError as error:
            raise ConfigError(f"{new}: {error.strerror}") from None
    write_out(out, request)
    if json and out is not None:
        print_json({"request": str(out), "key": key, "key_made": new is not None, "role": wanted.value})
    elif out is not None:
        say(f"{out}: request for a {wanted.value} certificate, key in {key}{' (new)' if new else ''}")


def issue(
    directory: Tree,
    role: RoleName,
    cn: CommonName = "",
    name: Annotated[str, typer.Option(help="Folder of the certificate; default: from role and common name.")] = "",
    csr_file: Request = None,
    authority: Annotated[str, typer.Option("--authority", help="Issuing CA; default: the CA for the role.")] = "",
    host: Hosts = None,
    days: Days = None,
    key_kind: Kind = "",
    organization: Annotated[str, typer.Option("--organization", help="O of the subject.")] = "",
    country: Annotated[str, typer.Option("--country", help="C of the subject, two letters.")] = "",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also write the chain to this PEM file.")] = None,
    sealed: SealedFile = None,
    share: Shares = None,
    json: JsonFlag = False,
) -> None:
    """Issue a leaf or an authority of any role, for a new key or for a request.

    Examples:

    `v2g pki issue certs/lab --role contract --cn DEABCC1234567X --name contract-x`

    `v2g pki issue certs/lab --role gateway --csr v2g_gateway.csr --cn ev-0042 --out v2g_gateway.pem`

    `v2g pki issue certs/lab --role cpo_sub1 --name cpo-b/sub1 --cn 'CPO B Sub-CA 1'`

    A request must be signed by its own key, of a kind that the role's profile allows: RSA (4096 bit)
    for gateways only. Only the subject fields of the profile are used. Exit code 4 when it is rejected.
    """
    from pki_tools.export import export_pem
    from pki_tools.index import load_index
    from pki_tools.issuing import CertificateOrder, issue_certificate, read_request
    from pki_tools.judge import read_file

    wanted = role_of(role)
    request = read_request(read_file(csr_file), wanted) if csr_file else None
    common_name = cn or (request.common_name if request else "")
    if not common_name:
        raise ConfigError("the certificate needs a common name", hint="--cn NAME")
    order = CertificateOrder(
        role=wanted,
        name=name or default_folder(wanted.value, common_name),
        common_name=common_name,
        organization=organization or (request.organization if request else None),
        country=country or (request.country if request else None),
        hosts=tuple(host or (request.hosts if request else ())),
        days=days,
        kind=kind_of(key_kind),
        authority=authority or None,
        request=request.request if request else None,
    )
    issued = issue_certificate(directory, order, at=now(), keys=keys_of(sealed, share))
    if out is not None:
        write_out(or_stdout(out), export_pem(directory, load_index(directory), issued[0].entry))
    left_out = request.left_out if request else ()
    for each in issued:
        _report(directory, each, "issued", json=json, left_out=left_out if each is issued[0] else ())


def default_folder(role: str, common_name: str) -> str:
    """Return the folder of a certificate for which none was named."""
    plain = "".join(c if c.isalnum() or c in "._-" else "-" for c in common_name).strip(".-")
    return f"{role}/{plain or 'unnamed'}"


def _report(directory: Path, issued: "Issued", what: str, *, json: bool, left_out: tuple[str, ...] = ()) -> None:
    entry = issued.entry
    if json:
        print_json(
            {
                what: entry.name,
                "role": entry.role.value,
                "serial": entry.serial,
                "not_after": entry.not_after,
                "files": [str(directory / file) for file in issued.files],
                "former": str(directory / issued.former) if issued.former else None,
                "left_out": left_out,
            }
        )
        return
    say(f"{entry.name}: {what}, {entry.role.value}, until {entry.not_after:%Y-%m-%d}, serial {entry.serial}")
    for file in issued.files:
        say(f"  {directory / file}")
    if issued.former:
        say(f"  the former one stays valid: {directory / issued.former}")
    for part in left_out:
        say(f"  omitted, not in the profile: {part}")


def renew(
    directory: Tree,
    name: Name,
    days: Days = None,
    keep_key: Annotated[bool, typer.Option("--keep-key", help="Certify the same key again.")] = False,
    below: Annotated[
        bool, typer.Option("--below", help="Also renew the certificates that a CA's former key signed.")
    ] = False,
    csr_file: Request = None,
    sealed: SealedFile = None,
    share: Shares = None,
    json: JsonFlag = False,
) -> None:
    """Renew a certificate while the old one stays valid: files change atomically, running programs continue.

    Examples: `v2g pki renew certs/lab secc`, `v2g pki renew certs/lab cpo/sub2 --below`

    An authority gets a new key, a new CRL and a new OCSP responder; its former key keeps answering for what it
    signed. A root also gets two cross certificates between its former and its new key.
    """
    from pki_tools.judge import read_file
    from pki_tools.renewal import Renewal, renew_certificate
    from v2g.pki.csr import load_csr

    request = load_csr(read_file(csr_file)) if csr_file else None
    renewal = Renewal(days=days, keep_key=keep_key, below=below, request=request)
    with progress(f"renewing {name}"):
        issued = renew_certificate(directory, name, renewal, at=now(), keys=keys_of(sealed, share))
    for each in issued:
        _report(directory, each, "renewed", json=json)


def revoke(
    directory: Tree,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Name of the current certificate.")] = "",
    serial: Annotated[str, typer.Option(help="Serial number in hexadecimal, in place of NAME.")] = "",
    reason: Annotated[str, typer.Option(help="Reason by RFC 5280: key_compromise, superseded, ...")] = "unspecified",
    since: Annotated[str, typer.Option(help="Invalid since (ISO 8601); default: now.")] = "",
    sealed: SealedFile = None,
    share: Shares = None,
    json: JsonFlag = False,
) -> None:
    """Revoke a certificate: for the OCSP responder at once, in the authority's CRL and in stapled answers.

    Example: `v2g pki revoke certs/lab contract --reason key_compromise`
    """
    from pki_tools.renewal import revoke_certificate

    if bool(name) == bool(serial):
        raise ConfigError("no certificate given", hint="give its NAME or its --serial")
    done = revoke_certificate(
        directory,
        name=name,
        serial=serial,
        reason=reason.replace("-", "_"),
        since=when(since) if since else None,
        at=now(),
        keys=keys_of(sealed, share),
    )
    entry = done.entry
    if json:
        print_json(
            {
                "revoked": entry.name,
                "serial": entry.serial,
                "since": entry.revoked_at,
                "reason": entry.reason,
                "files": [str(directory / file) for file in done.files],
                "crl_waits_for": done.waiting or None,
            }
        )
        return
    say(f"{entry.name}: revoked since {entry.revoked_at:%Y-%m-%d %H:%M:%S}Z, {entry.reason}")
    for file in done.files:
        say(f"  {directory / file}")
    if done.waiting:
        say(f"  the CRL of {done.waiting} waits for its key: v2g pki crl {directory} --sealed F --share F ...")


def staple(
    directory: Tree,
    revoked: Annotated[
        bool, typer.Option("--revoked", help="Answer that the charger's certificate is revoked.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Renew the OCSP answers beside leaves, which chargers staple and back ends check; each is valid for a week.

    A running charger uses the new answer with the next vehicle. Example: `v2g pki staple certs/lab`

    `--revoked` only simulates; `v2g pki revoke` revokes.
    """
    from pki_tools.tree import PkiTree, refresh_staple

    tree = PkiTree.load(directory)
    leaves = [entry.name for entry in tree.index().entries if not entry.replaced]
    for leaf in leaves:
        path = tree.path(f"{leaf}/ocsp.der")
        if not path.exists():
            continue
        pretends = revoked and leaf == "secc"
        refresh_staple(tree, now=now(), leaf=leaf, revoked=pretends)
        says = pretends or tree.index().find(leaf).revoked_at is not None
        if json:
            print_json({"file": str(path), "leaf": leaf, "revoked": says})
        else:
            say(f"{path}: valid for a week" + (", revoked" if says else ""))


def crl(
    directory: Tree,
    sealed: SealedFile = None,
    share: Shares = None,
    pem: Annotated[
        Path | None,
        typer.Option("--pem", metavar="FILE", help="Write the lists to this file as PEM, too: for brokers."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Renew the revocation list of every authority whose key is available.

    Examples: `v2g pki crl certs/lab`, `v2g pki crl certs/lab --sealed root.sealed --share a.txt --share b.txt ...`
    """
    from pki_tools.files import write_whole
    from pki_tools.renewal import crls_as_pem, refresh_crls

    files = refresh_crls(directory, at=now(), keys=keys_of(sealed, share))
    if pem is not None:
        write_whole(pem, crls_as_pem(directory, files))
    for file in files:
        tell({"file": str(directory / file)}, f"{directory / file}: renewed", json=json)
