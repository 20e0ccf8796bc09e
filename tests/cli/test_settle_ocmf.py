"""`v2g settle ocmf verify`: verdicts on signed readings of any make, as people and programs read them."""

import base64
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.energy.meter_records.signed_records import FOLDER, KEY, OCMF, PAYLOAD, der_of, record

OTHERS = [json.loads(line) for line in (FOLDER / "others.jsonl").read_text().splitlines()]


@pytest.mark.requirement("R196")
def test_every_genuine_record_is_verified_by_its_key(v2g: Run, tmp_path: Path) -> None:
    for at, row in enumerate(OCMF):
        file = tmp_path / f"{at}.txt"
        file.write_text(row["record"])
        done = v2g("settle", "ocmf", "verify", str(file), "--key", row["public_key_as_given"], "--json")
        assert (done.code, done.errors) == (0, "")
        assert json.loads(done.output)["verdict"] == "verified"


def test_what_is_verified_and_its_energy_are_said(v2g: Run, tmp_path: Path) -> None:
    row = OCMF[0]
    (tmp_path / "key").write_bytes(bytes.fromhex(row["public_key_der"]))
    done = v2g("settle", "ocmf", "verify", "-", "--key", str(tmp_path / "key"), given=row["record"].encode())
    assert done.output == (
        "-: record 1: verified\n  OCMF T32, meter 17619300\n  1-b:1.8.0 import: 0.1 Wh (259.6 to 259.7 Wh)\n"
    )
    assert done.code == 0


def test_a_key_that_came_with_the_record_is_no_proof_of_whose_it_is(v2g: Run, tmp_path: Path) -> None:
    file = tmp_path / "message.json"
    file.write_text(json.dumps({"signedMeterData": OCMF[0]["record"], "publicKey": OCMF[0]["public_key_der"]}))
    done = v2g("settle", "ocmf", "verify", str(file))
    assert done.code == 10
    assert "record 1: verified by the key in its file only, which is not known from elsewhere\n" in done.output
    assert v2g("settle", "ocmf", "verify", str(file), "--key", OCMF[0]["public_key_der"]).code == 0
    done = v2g("settle", "ocmf", "verify", str(file), "--key", OCMF[12]["public_key_der"])
    assert done.code == 9
    assert "signature invalid: the signature does not match" in done.output
    assert "note: the key that came with the record is not a known one" in done.output


def test_each_verdict_has_its_words(v2g: Run, tmp_path: Path) -> None:
    text, key = OCMF[0]["record"], OCMF[0]["public_key_der"]
    file = tmp_path / "r.txt"
    for data, options, words in (
        (text.replace("0.2597", "0.3597"), ("--key", key), "signature invalid"),
        (text[:-40], ("--key", key), "incomplete"),
        (text.replace('"RV":0.2597', '"RV":"a\x1b[2J"'), ("--key", key), "unreadable: payload"),
        (text, (), "no key"),
        (text, ("--key", key, "--meter", "4711"), "other meter: of the meter 17619300, not 4711"),
        (text, ("--key", key, "--transaction", "T31"), "other transaction: of the transaction T32, not T31"),
        (text.replace('{"SD"', '{"SA":"RSA-2048-SHA256","SD"'), ("--key", key), "unsupported algorithm"),
    ):
        file.write_text(data)
        done = v2g("settle", "ocmf", "verify", str(file), *options)
        assert done.code == 9
        assert f"record 1: {words}" in done.output
        assert "\x1b" not in done.output
        assert done.errors.startswith(f"v2g: {file}: 1 of 1 records not verified\n")


def test_begin_and_end_may_be_in_two_files_in_order(v2g: Run, tmp_path: Path) -> None:
    begin, end = OCMF[5], OCMF[6]
    files = []
    for row, name in ((begin, "begin"), (end, "end")):
        files.append(str(tmp_path / name))
        (tmp_path / name).write_text(row["record"])
    done = v2g("settle", "ocmf", "verify", *files, "--key", begin["public_key_as_given"], "--json")
    assert done.code == 0
    energy = [json.loads(line)["energy"] for line in done.output.splitlines()]
    assert energy[0] == []
    assert [(each["register"], each["energy_wh"]) for each in energy[1]] == [("1-0:1.8.1", "0")]
    done = v2g("settle", "ocmf", "verify", *reversed(files), "--key", begin["public_key_as_given"])
    assert done.code == 9
    assert "record 1: reordered: it stands before" in done.output


@pytest.mark.parametrize("row", [row for row in OTHERS if row["valid"]][::2], ids=lambda row: str(row["format"]))
def test_other_formats_are_verified_too(v2g: Run, row: dict[str, str]) -> None:
    options = ("--key", row["public_key"]) if row["public_key"] else ()
    done = v2g("settle", "ocmf", "verify", "-", *options, given=row["record"].encode())
    assert done.code == (0 if options else 10)
    assert f"  {row['format']} " in done.output


@pytest.mark.parametrize(
    ("given", "options", "code", "reason"),
    [
        (b"{", (), 3, "v2g: -: the file is not JSON"),
        (b"<values/>", (), 3, "v2g: -: the file has no signed record"),
        (b"x", ("--key", "zz"), 2, "v2g: --key: not a meter's public key"),
        (b"x", ("--key", "z" * 9000), 2, "v2g: --key: a meter's public key of 9000 characters"),
    ],
)
def test_what_cannot_be_used_is_an_error(
    v2g: Run, given: bytes, options: tuple[str, ...], code: int, reason: str
) -> None:
    done = v2g("settle", "ocmf", "verify", "-", *options, given=given)
    assert done.code == code
    assert done.errors.startswith(reason)


def test_a_missing_file_is_named(v2g: Run, tmp_path: Path) -> None:
    done = v2g("settle", "ocmf", "verify", str(tmp_path / "none"))
    assert (done.code, done.errors) == (2, f"v2g: {tmp_path / 'none'}: No such file or directory\n")
    done = v2g("settle", "ocmf", "verify", "-", "--key", str(tmp_path / "key.pem"), given=OCMF[0]["record"].encode())
    assert done.code == 2
    assert "no file has this name" in done.errors
    (tmp_path / "key.pem").write_text("zz")
    done = v2g("settle", "ocmf", "verify", "-", "--key", str(tmp_path / "key.pem"), given=OCMF[0]["record"].encode())
    assert done.errors.startswith(f"v2g: --key: {tmp_path / 'key.pem'}: not a meter's public key")


def test_a_register_without_a_name_is_said_to_have_none(v2g: Run, tmp_path: Path) -> None:
    data, public = record(*({**each, "RI": ""} for each in PAYLOAD["RD"])), der_of(KEY.public_key()).hex()
    done = v2g("settle", "ocmf", "verify", "-", "--key", public, given=data)
    assert "  unnamed register: 2500 Wh (1500 to 4000 Wh)" in done.output


def test_a_key_has_the_form_that_ocpp_gives_it(v2g: Run, tmp_path: Path) -> None:
    file = tmp_path / "r.txt"
    file.write_text(OCMF[1]["record"])
    key = base64.b64encode(f"oca:base16:asn1:{OCMF[1]['public_key_der']}".encode()).decode()
    assert v2g("settle", "ocmf", "verify", str(file), "--key", key).code == 0
    (tmp_path / "key.txt").write_bytes(b"\xef\xbb\xbf" + key.encode() + b"\r\n")  # as Windows' editor writes it
    assert v2g("settle", "ocmf", "verify", str(file), "--key", str(tmp_path / "key.txt")).code == 0
