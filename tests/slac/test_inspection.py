"""A modem is asked who it is and how it is set up; what it says is what the simulated one was given."""

import pytest

from v2g.errors import FrameError
from v2g.slac import mme, pib, vendor
from v2g.slac.control import ModemVendor
from v2g.slac.inspection import ModemInspector, ModemReport
from v2g.slac.mme import MmeFrame
from v2g.slac.modem import AttenuationConfig, SimulatedModem

_HOST, _MODEM = bytes.fromhex("020000000101"), bytes.fromhex("060000000101")


def _modem(make="qualcomm", *, charger: bool = True) -> SimulatedModem:
    measures = AttenuationConfig() if charger else None
    return SimulatedModem(host_mac=_HOST, mac=_MODEM, measures=measures, make=make)


def _inspect(modem: SimulatedModem, role: pib.Role = "evse") -> ModemReport:
    now = 0.0
    inspector = ModemInspector(role, mac=_HOST, now=now)
    for _ in range(40):
        actions = inspector.actions()
        for action in actions:
            for delivery in modem.from_host(action.frame):
                if delivery.to == "host":
                    inspector.receive(delivery.frame, now)
        if inspector.finished:
            assert inspector.deadline() is None
            return inspector.report
        if not actions and (due := inspector.deadline()) is not None:
            now = due
            inspector.tick(now)
    raise AssertionError("never finished")


def _send(modem: SimulatedModem, message) -> list[mme.MmeFrame]:
    answers = modem.from_host(mme.encode(MmeFrame(mme.LOCAL_MODEM, _HOST, message)))
    return [mme.decode(each.frame) for each in answers if each.to == "host"]


def test_a_charger_s_modem_in_good_order() -> None:
    report = _inspect(_modem())
    assert (report.vendor, report.modem, report.chip) == (ModemVendor.QUALCOMM, _MODEM.hex(":"), "QCA7000")
    assert report.firmware.startswith("MAC-QCA7000")
    assert (report.link, report.name, report.problems) == (False, "EVSE", ())
    assert {each.name for each in report.settings} == {each.name for each in pib.SETTINGS}
    assert all(each.good for each in report.settings)


def test_a_modem_set_up_for_the_other_role_is_noticed() -> None:
    wrong = {each.name: each for each in _inspect(_modem(charger=False)).settings if not each.good}
    assert set(wrong) == {"SLAC role", "central coordinator"}
    assert (wrong["SLAC role"].found, wrong["SLAC role"].wanted) == ("1 (vehicle)", "2 (charger)")


def test_the_setting_can_be_written_and_is_checked() -> None:
    modem = _modem(charger=False)
    setting = next(each for each in pib.SETTINGS if each.name == "SLAC role")
    for each in pib.SETTINGS:
        data = each.wanted("evse").to_bytes(each.size, "little")
        write = vendor.VsWrModReq(length=len(data), offset=each.offset, checksum=pib.checksum(data), data=data)
        (answer,) = _send(modem, write)
        assert isinstance(answer.message, vendor.VsWrModCnf)
        assert answer.message.mstatus == 0
    assert all(each.good for each in _inspect(modem).settings)
    damaged = vendor.VsWrModReq(length=1, offset=setting.offset, checksum=0, data=b"\1")
    (answer,) = _send(modem, damaged)
    assert isinstance(answer.message, vendor.VsWrModCnf)
    assert answer.message.mstatus != 0


def test_other_makes_tell_what_they_can() -> None:
    lumissil = _inspect(_modem("lumissil"))
    assert (lumissil.vendor, lumissil.firmware, lumissil.link) == (ModemVendor.LUMISSIL, "1.0.0.1", False)
    assert lumissil.settings == ()
    other = _inspect(_modem("other"))
    assert (other.vendor, other.answered, other.link) == (ModemVendor.UNKNOWN, True, False)


def test_no_modem_is_no_answer() -> None:
    inspector = ModemInspector("ev", mac=_HOST, now=0.0)
    now = 0.0
    while not inspector.finished:
        now = inspector.deadline() or now
        inspector.tick(now)
    assert not inspector.report.answered
    assert now <= 1


def test_a_modem_that_hides_its_parameters_is_a_problem_not_an_error() -> None:
    refused = vendor.VsRdModCnf(mstatus=0x10, length=0, offset=0, checksum=0, data=b"")
    with pytest.raises(FrameError, match="does not show"):
        pib.part_of(refused)
    damaged = vendor.VsRdModCnf(length=4, offset=0, checksum=1, data=bytes(4))
    with pytest.raises(FrameError, match="damaged"):
        pib.part_of(damaged)
    assert pib.findings({0: bytes(16)}, "ev") == ()


def test_the_checksum_makes_the_whole_come_to_nothing() -> None:
    """A block with its checksum in place has all bits set when its words are combined."""
    data = bytes(range(200)) + b"\1\2\3"
    value = pib.checksum(data)
    padded = data + bytes(-len(data) % 4) + value.to_bytes(4, "little")
    combined = 0
    for at in range(0, len(padded), 4):
        combined ^= int.from_bytes(padded[at : at + 4], "little")
    assert combined == 0xFFFFFFFF
    assert pib.checksum(pib.simulated_pib("ev", _MODEM)) == 0
