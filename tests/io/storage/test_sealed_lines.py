"""A sealed line opens with its key at its place, and any other octets are refused by name."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sealing import new_keys
from v2g.errors import SealedError, StoreError, VerificationError
from v2g.io.storage.record_keys import RecordKeys, is_sealed, open_lines, read_sealed, readable, seal_line, seal_lines

pytestmark = pytest.mark.requirement("R145")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> RecordKeys:
    return new_keys(tmp_path_factory.mktemp("keys") / "file.keys", 12)


@given(records=st.lists(st.binary(max_size=300), max_size=5), name=st.text(max_size=20))
def test_any_records_come_back_and_are_lines(own: RecordKeys, records: list[bytes], name: str) -> None:
    sealed = [seal_line(own, record, name, place) for place, record in enumerate(records)]
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in sealed)
    assert open_lines(b"".join(sealed), own, name) == b"".join(records)
    assert len(set(sealed)) == len(sealed)


@given(data=st.binary(max_size=400), name=st.sampled_from(["a.jsonl", "a.json"]))
def test_a_file_comes_back_whether_it_is_sealed_by_lines_or_as_one(own: RecordKeys, data: bytes, name: str) -> None:
    sealed = seal_lines(own, data, name)
    assert open_lines(sealed, own, name) == data
    assert sealed.count(b"\n") == (len(data.splitlines()) if name == "a.jsonl" else 1)


@given(
    records=st.lists(st.integers(0, 10**6), min_size=1, max_size=6),
    broken=st.sets(st.integers(0, 5)),
    others=st.booleans(),
)
def test_lines_that_open_are_readable_beside_those_that_do_not(
    own: RecordKeys, records: list[int], broken: set[int], others: bool
) -> None:
    lines = [seal_line(own, b"%d\n" % record, "name", place) for place, record in enumerate(records)]
    harmed = [line[:-9] + b"\n" if place in broken else line for place, line in enumerate(lines)]
    found = readable(b"".join(harmed), None if others else own, "name").splitlines()
    for place, (line, record) in enumerate(zip(found, records, strict=True)):
        opens = place not in broken and not others
        assert line == (b"%d" % record if opens else harmed[place].rstrip(b"\n"))


@given(record=st.binary(max_size=60), place=st.integers(0, 200), octet=st.integers(0, 255))
def test_no_octet_can_be_changed(own: RecordKeys, record: bytes, place: int, octet: int) -> None:
    line = bytearray(seal_line(own, record, "name"))
    place %= len(line)
    if line[place] == octet:
        return
    line[place] = octet
    if is_sealed(line):
        with pytest.raises((VerificationError, SealedError)):
            open_lines(bytes(line), own, "name")


@given(
    st.binary(max_size=200)
    | st.binary(max_size=200).map(lambda data: b"sealed " + data)
    | st.from_regex(rb"sealed [0-9]{1,12} [A-Za-z0-9+/=]{0,80}\n", fullmatch=True)
)
def test_any_octets_are_plain_or_refused(own: RecordKeys, data: bytes) -> None:
    if not is_sealed(data):
        assert open_lines(data, own, "name") == data
        return
    with pytest.raises((VerificationError, SealedError)):
        open_lines(data, own, "name")


def test_a_file_that_does_not_open_is_named_with_its_folder(own: RecordKeys, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(seal_line(own, b"x", "a"))
    assert read_sealed(tmp_path / "a", own) == b"x"
    (tmp_path / "a").rename(tmp_path / "b")
    with pytest.raises(StoreError, match=rf"{tmp_path}: b:1: the sealed line does not open"):
        read_sealed(tmp_path / "b", own)
