"""CAN databases as makers write them. cantools, which we did not write, says what each frame holds."""

import contextlib
import random
import re
from pathlib import Path

import pytest
from cantools.database import DecodeError
from cantools.database.can import Database
from hypothesis import given
from hypothesis import strategies as st

from tests.together import together
from v2g.dbc import Dbc, DbcMessage, parse_dbc, read_dbc, strict_text
from v2g.errors import ConfigError

pytestmark = pytest.mark.requirement("R210")

FILES = sorted((Path(__file__).parent / "vectors" / "dbc").glob("*.dbc"))
AS_CANTOOLS_TAKES_IT = (
    (r"(?m)^BO_ (103596083|103596084) ", lambda found: f"BO_ {int(found[1]) | 1 << 31} "),
    (r"(?m)^(BO_ \d+| SG_) (?=\d)", r"\1 N"),
    (r'(?m)^(VAL_ .*")[ \r]*$', r"\1;"),
    (r"(?m)^VAL_ 352 ACM_VehicleHoldRequired.*$", ""),
)
"""What cantools refuses whole files for."""


def dbc(*lines: str) -> Dbc:
    return parse_dbc('VERSION ""\nNS_ :\n\tCM_\n\tVAL_\nBS_:\nBU_: A B\n' + "\n".join(lines) + "\n")


def by_cantools(text: str) -> Database:
    database = Database(strict=False)
    database.add_dbc_string(text)
    return database


def values(message: DbcMessage, data: bytes) -> dict[str, float]:
    return {
        each.name: each.raw(data) * each.scale + each.offset
        for each in message.signals.values()
        if message.present(each, data)
    }


@together("path", FILES, ids=lambda path: path.stem)
def test_each_message_of_real_files_is_decoded_as_by_cantools(path: Path) -> None:
    text = path.read_text("utf-8")
    for pattern, replacement in AS_CANTOOLS_TAKES_IT:
        text = re.sub(pattern, replacement, text)
    ours = parse_dbc(text)
    theirs = by_cantools(text)
    assert {each.frame_id for each in ours.messages} == {each.frame_id for each in theirs.messages}
    dice = random.Random(path.stem)
    for message in ours.sound():
        other = theirs.get_message_by_frame_id(message.frame_id)
        assert (message.length, message.extended) == (other.length, other.is_extended_frame)
        for each in other.signals:
            names = {code: str(name) for code, name in (each.choices or {}).items()}
            assert (message.signals[each.name].names, message.signals[each.name].unit) == (names, each.unit or "")
        for frame in (bytes(message.length), *(dice.randbytes(message.length) for _ in range(5))):
            with contextlib.suppress(DecodeError):  # a multiplexer that selects nothing
                assert values(message, frame) == pytest.approx(other.decode(frame, decode_choices=False))


READ = {path: read_dbc(path) for path in FILES}


def test_flaws_of_real_files_are_named_with_their_lines() -> None:
    found = {path.stem: [str(each) for each in read.warnings()] for path, read in READ.items()}
    assert [name for name, flaws in found.items() if not flaws] == [
        "gm_global_a_high_voltage_management", "mg", "tesla_model3_party", "toyota_prius_2010_pt", "vw_meb"
    ]  # fmt: skip
    without_flag = "line 182: BSM_LEFT: 0x62cc033 has more than 11 bits without the flag; taken as 29 bits"
    assert found["chrysler_cusw"][0] == without_flag
    names = [each for each in found["mazda_2017"] if each.endswith("is not a name as DBC has them")]
    assert [each.split(":")[0] for each in names][:2] == ["line 273", "line 572"]
    assert all(re.match(r"line \d+: '\d", each) for each in names)
    assert found["rivian_primary_actuator"] == [
        "line 876: VAL_ is not used: there is no signal ACM_VehicleHoldRequired"
    ]
    assert found["nissan_xterra_2011"][0] == "line 76: WHEEL_1 (line 75) and WHEEL_2 share bits in ABS_1"


GOOD = ("BO_ 1 Good: 8 A", ' SG_ S : 0|8@1+ (1,0) [0|255] "V" B')
M = 'BO_ 2 M: 8 A\n SG_ S : 0|8@1+ (1,0) [0|1] "" B'
FLAWED = {
    "a signal that cannot be read": ('BO_ 2 M: 8 A\n SG_ S : 0|8@1+ (1;0) [0|1] "" B', "line 8: SG_ cannot be read"),
    "an overlap": (
        M + '\n SG_ T : 7|8@1+ (1,0) [0|1] "" B',
        r"line 9: S \(line 8\) and T share bits in M",
    ),
    "a signal outside": ('BO_ 2 M: 1 A\n SG_ S : 7|2@1+ (1,0) [0|1] "" B', "line 8: S does not fit into the 1 octets"),
    "a signal twice": (M + '\n SG_ S : 8|8@1+ (1,0) [0|1] "" B', "line 9: S is"),
    "a factor of 0": ('BO_ 2 M: 8 A\n SG_ S : 0|8@1+ (0,0) [0|1] "" B', "line 8: S has the factor 0"),
    "a signal of no multiplexer": (M.replace("S :", "S m1 :"), "line 8: S is multiplexed, and M has 0"),
    "multiplexers in a circle": (
        M.replace("S :", "S m1M :")
        + '\n SG_ T m1M : 8|8@1+ (1,0) [0|1] "" B\nSG_MUL_VAL_ 2 S T 1-1;\nSG_MUL_VAL_ 2 T S 1-1;',
        "line 8: the multiplexers of S depend on each other",
    ),
    "floating point of 8 bits": (M + "\nSIG_VALTYPE_ 2 S : 1;", "line 9: S"),
    "names that cannot be read": (M + '\nVAL_ 2 S 1 "a 2 "b";', "line 9: VAL_"),
    "names without an end": (M + '\nVAL_ 2 S 1 "a"', "line 9: VAL_ does not end"),
    "names of a table that is not there": (M + '\nVAL_ 2 S T ;', "line 9: VAL_ names"),
    "an identifier of 30 bits": (M.replace("2", "1000000000"), "line 7: M: 1000000000 is not"),
    "messages of one name": (
        M + '\nBO_ 3 M: 8 A\n SG_ S : 0|9@1+ (1,0) [0|1] "" B', "lines 7, 9"
    ),
}  # fmt: skip


@together("name", FLAWED)
def test_what_is_wrong_counts_only_where_it_is_used(name: str) -> None:
    text, wanted = FLAWED[name]
    read = dbc(text, *GOOD)
    assert read.use("Good", "S").frame_id == 1
    with pytest.raises(ConfigError, match=wanted):
        read.use("M", "S")
    if "lines" not in wanted:
        assert any(re.match(wanted, str(each)) for each in read.warnings(["Good"])), read.warnings(["Good"])


def test_other_signals_of_a_flawed_message_can_be_used() -> None:
    read = dbc(
        'BO_ 2 M: 8 A\n SG_ S : 0|8@1+ (1,0) [0|1] "" B', ' SG_ T : 7|x "" B', ' SG_ U : 16|8@1+ (1,0) [0|1] "" B'
    )
    assert list(read.use("M", "S", "U").signals) == ["S", "U"]
    assert [each.line for each in read.warnings(["M"])] == [9]


NOT_USED = {
    "VAL_ 9 S 1 \"a\";": "line 9: VAL_ is not used: there is no message 9",
    "VAL_ 1 T 1 \"a\";": "line 9: VAL_ is not used: there is no signal T",
    "SIG_VALTYPE_ 1 T : 1;": "line 9: SIG_VALTYPE_ is not used: there is no signal T",
    "SG_MUL_VAL_ 1 T S 1-1;": "line 9: SG_MUL_VAL_ is not used: there is no signal T",
    "this is nothing": "line 9: not a statement: this is nothing",
    'BO_ x y: z\n SG_ S : 0|8@1+ (1,0) [0|1] "" B': "line 9: BO_ cannot be read, its signals are left out: BO_ x y: z",
    'BO_ 1 Again: 8 A': "line 9: Again has the identifier of Good, line 7",
    'VAL_TABLE_ T 1 "a': 'line 9: VAL_TABLE_ cannot be read: VAL_TABLE_ T 1 "a',
}  # fmt: skip


@together("statement", NOT_USED)
def test_a_statement_that_nothing_needs_is_a_warning(statement: str) -> None:
    assert [str(each) for each in dbc(*GOOD, statement).warnings(["Good"])] == [NOT_USED[statement]]


def test_comments_may_hold_anything() -> None:
    read = dbc(
        'CM_ "old: ', 'BO_ 7 Old: 8 A', ' SG_ X : 0|8@1+ (1,0) [0|1] "" B";', *GOOD, 'CM_ SG_ 1 S "a 5" screen";',
        '// BO_ 8 No: 8 A', "", 'VAL_ 1 S 255 "SNA" ;', 'CM_ SG_ 1 S "no end', *(' SG_ T : 8|8@1+ (1,0) [0|1] "" B',),
    )  # fmt: skip
    assert [(each.name, list(each.signals)) for each in read.messages] == [("Good", ["S", "T"])]
    assert read.use("Good", "S").signals["S"].names == {255: "SNA"}
    assert read.warnings() == []


def test_statements_of_all_kinds_that_decode_frames() -> None:
    """Spelt as tools do, and judged by cantools where it reads them as well."""
    lines = (
        "BO_ 2566844926 CCVS: 8 Vector__XXX",
        ' SG_ Mux M : 0|8@1+ (1,0) [0|0] "" B',
        ' SG_ Inner m1M : 8|4@1+ (1,0) [0|0] "" B',
        ' SG_ Volts m0 : 16|16@1- (0.5,-10) [0|0] "V" B',
        ' SG_ Deep m3 : 16|32@1- (1,0) [-3.4E+038|3.4E+038] "" B',
        ' SG_ Big m2 : 23|12@0- (1e-1,0.5) [0|0] "A" B,C',
        "SIG_VALTYPE_ 2566844926 Deep : 1;",
        "SG_MUL_VAL_ 2566844926 Inner Mux 1-1;",
        "SG_MUL_VAL_ 2566844926 Volts Mux 0-0, 5-7;",
        "SG_MUL_VAL_ 2566844926 Deep Inner 3-3;",
        "SG_MUL_VAL_ 2566844926 Big Mux 2-2;",
        'VAL_TABLE_ States 2 "two" 1 "one" ;',
        'VAL_ 2566844926 Volts 32767 "SNA"',
        '  -1 "minus \\"one\\"" ;',
    )
    read = dbc(*lines)
    message = read.use("CCVS", "Volts", "Deep", "Big")
    assert (read.warnings(), message.frame_id, message.extended) == ([], 0x18FEF1FE, True)
    theirs = by_cantools("\n".join(('VERSION ""', "NS_ :", "BS_:", "BU_: B", *lines)))
    other = theirs.get_message_by_name("CCVS")
    for first in (0, 1, 2, 5, 7, 9):
        frame = bytes((first, 0x33, 0x12, 0xC0, 0x48, 0x41, 7, 8))
        expected = other.decode(frame, decode_choices=False, allow_truncated=True) if first != 9 else {"Mux": 9}
        assert values(message, frame) == pytest.approx(expected)
    assert message.signals["Volts"].names == {32767: "SNA", -1: 'minus "one"'}


def test_names_by_reference_and_codes_as_they_are_on_the_bus() -> None:
    read = dbc(
        *GOOD,
        ' SG_ Signed : 8|8@1- (.1,0) [0|0] "" B',
        'VAL_TABLE_ T 1 "one" ;',
        "VAL_ 1 S T ;",
        'VAL_ 1 Signed 255 "x";',
    )
    signals = read.use("Good").signals
    assert (signals["S"].names, signals["Signed"].names) == ({1: "one"}, {-1: "x"})


def test_long_names_replace_their_beginnings() -> None:
    read = dbc(
        *GOOD,
        'BA_ "SystemMessageLongSymbol" BO_ 1 "Good_with_a_name_of_more_than_32_letters";',
        'BA_ "SystemSignalLongSymbol" SG_ 1 S "S_with_a_name_of_more_than_32_letters";',
    )
    assert read.use("Good_with_a_name_of_more_than_32_letters", "S_with_a_name_of_more_than_32_letters").line == 7


@together("path", FILES, ids=lambda path: path.stem)
def test_what_is_sound_can_be_given_to_a_strict_reader(path: Path) -> None:
    ours, theirs = READ[path], Database()
    theirs.add_dbc_string(strict_text(ours))
    assert len(theirs.messages) >= 0.6 * len(ours.messages)
    for other in theirs.messages:
        message, frame = ours.use(other.name), bytes(range(40, 40 + other.length))
        with contextlib.suppress(DecodeError):
            assert values(message, frame) == pytest.approx(other.decode(frame))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_encoding_and_line_end_is_read(tmp_path: Path, encoding: str, end: str) -> None:
    path = tmp_path / "make.dbc"
    lines = ("BO_ 1 M: 8 A", ' SG_ T : 0|8@1+ (1,-40) [-40|214] "°C" B', 'VAL_ 1 T 255 "ungültig" ;', "")
    path.write_bytes(end.join(lines).encode(encoding))
    signal = read_dbc(path).use("M", "T").signals["T"]
    assert (signal.unit, signal.names) == ("°C", {255: "ungültig"})


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no message in it"):
        parse_dbc("something else")
    with pytest.raises(ConfigError, match="No such file"):
        read_dbc(tmp_path / "gone.dbc")


WORDS = st.sampled_from([
    *("BO_", "SG_", "VAL_", "SG_MUL_VAL_", "SIG_VALTYPE_", "VAL_TABLE_", "BA_", "CM_", "NS_", "0", "1", "8", "64"),
    *":;|@+-()[],\n\n \\", "1e9", "m0", "M", "m1M", "X", "Y", '"', '"SNA"',
    "BO_ 1 X: 8 A\n", 'SG_ Y : 0|8@1+ (1,0) [0|1] "" B\n',
])  # fmt: skip


@given(st.lists(WORDS, max_size=60).map(" ".join) | st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read = parse_dbc(text)
    except ConfigError:
        return
    for each in read.sound():
        values(read.use(each.name, *each.signals), bytes(each.length))
    read.warnings()
