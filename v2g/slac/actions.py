"""Actions and reports of the matching cores."""

import msgspec

from v2g.observe import Observe


class SendFrame(msgspec.Struct, frozen=True):
    """Put this Ethernet frame on the link."""

    frame: bytes


class Matched(msgspec.Struct, frozen=True, kw_only=True):
    """D-LINK_READY(established): both modems are in one private network and see each other.

    `nid` 7 and `nmk` 16 bytes, addresses 6 bytes, `attenuation_db` the average over carrier groups and sounds.
    """

    nid: bytes
    nmk: bytes
    evse_mac: bytes
    pev_mac: bytes
    attenuation_db: float

    def __repr__(self) -> str:  # the key is a secret
        return (
            f"Matched(evse={self.evse_mac.hex(':')}, pev={self.pev_mac.hex(':')}, nid={self.nid.hex()}, "
            f"attenuation_db={self.attenuation_db})"
        )


class MatchingFailed(msgspec.Struct, frozen=True):
    """Matching failed until the next trigger. `reason` is one of FAILURES."""

    reason: str


class LinkLost(msgspec.Struct, frozen=True):
    """D-LINK_READY(no link): the link was up and is lost."""


class RestartPilot(msgspec.Struct, frozen=True):
    """Charger: show X1, then E or F for T_step_EF, then 5 % again, so that the vehicle starts over."""

    reason: str


class TogglePilot(msgspec.Struct, frozen=True):
    """Vehicle: `count` times from B to C and back (BCB toggle), each B and each C for `state_s` seconds.

    It identifies the charger at this pilot wire (validation), or wakes a charger that switched its oscillator off.
    Begin with a B of `state_s` from now on.
    """

    count: int
    state_s: float


class OscillatorOff(msgspec.Struct, frozen=True):
    """Charger: constant pilot (X1), the session pauses."""


class OscillatorOn(msgspec.Struct, frozen=True):
    """Charger: 5 % again (X1 to X2), the session resumes: the vehicle toggled the pilot, or the charger requests it."""


Action = (
    SendFrame
    | Matched
    | MatchingFailed
    | LinkLost
    | RestartPilot
    | TogglePilot
    | OscillatorOff
    | OscillatorOn
    | Observe
)

FAILURES = {
    "no_charger_answers": "no charger answered CM_SLAC_PARM.REQ",
    "no_attenuation_result": "no charger sent an attenuation profile",
    "too_weak": "every charger that answered is too weak to be at the other end of the cable",
    "no_match_confirmation": "the charger did not confirm the match",
    "modem_silent": "the own modem does not accept the network key",
    "no_link": "the modems did not find each other after the match",
    "vehicle_silent": "the vehicle is connected but never started matching",
    "not_validated": "no charger counted the right number of pilot toggles: none is at the other end of the cable",
    "not_resumed": "the link did not come up again after the pause",
}
"""Why matching failed: stable code -> sentence."""
