"""`openssl verify` as a judge that we did not write: it believes our good chains, and refuses our bad ones wherever
RFC 5280 knows what is wrong with them.
"""

import subprocess
from pathlib import Path

import pytest

from tests.packages import need
from tests.pki.bad_certificates import CASES, Case
from tests.pki.forge import EVERY, NOW, Forge, Made
from tests.pki.forge_chains import cross, pem
from tests.pki.openssl_verify import ALSO, KNOWN, OURS_ONLY
from v2g.pki.profile import Role
from v2g.pki.verify import verify_chain


def openssl_believes(made: Made, folder: Path) -> bool:
    for name, certificates in (("leaf", made.chain[:1]), ("between", made.chain[1:]), ("roots", made.anchors)):
        (folder / f"{name}.pem").write_bytes(b"".join(map(pem, certificates)))
    command = ["openssl", "verify", "-no-CApath", "-no-CAstore", "-attime", str(int(NOW.timestamp()))]
    command += ["-CAfile", "roots.pem", "-untrusted", "between.pem", "leaf.pem"]
    for option, name in (("-CAfile", "roots"), ("-untrusted", "between")):
        if not (folder / f"{name}.pem").read_bytes():
            place = command.index(option)
            del command[place : place + 2]
            if option == "-CAfile":
                command.insert(2, "-no-CAfile")
    return subprocess.run(command, cwd=folder, check=False, capture_output=True).returncode == 0


def role_of(case: Case) -> Role:
    return Role.VEHICLE if Role.VEHICLE in case.roles else case.roles[0]


@pytest.mark.parametrize("role", EVERY)
def test_both_believe_good_chains(tmp_path: Path, role: Role) -> None:
    need("openssl", program="openssl")
    assert openssl_believes(Forge(role).made(), tmp_path)


@pytest.mark.parametrize(
    "case",
    [each for each in CASES if (each.reason in KNOWN and each.name not in OURS_ONLY) or each.name in ALSO],
    ids=lambda case: case.name,
)
def test_both_refuse_what_rfc_5280_forbids(tmp_path: Path, case: Case) -> None:
    need("openssl", program="openssl")
    assert not openssl_believes(case.make(Forge(role_of(case))), tmp_path)


def test_both_find_the_way_over_a_cross_certificate(tmp_path: Path) -> None:
    """Who has only the other root believes what a root has issued, by the cross certificate between them."""
    need("openssl", program="openssl")
    forge = Forge(Role.SECC)
    new, old = (
        forge.parties(root={"subject": forge.party("new", Role.V2G_ROOT, None).certificate.subject}),
        forge.good(),
    )
    link = cross(new["root"], old["root"])
    shown = forge.shown(new, also=(link,))
    made = Made(chain=shown.chain, key=shown.key, anchors=(old["root"].der,))
    assert openssl_believes(made, tmp_path)
    verify_chain(made.chain[0], made.chain[1:], made.anchors, role=Role.SECC, at=NOW)
