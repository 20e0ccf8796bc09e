"""A station at a back end of OCPP 1.6 (R199): what the mirror of the bridge wants to know of it, and keeps."""

from collections.abc import Mapping
from typing import Final

from v2g.ocpp.rpc import Mend
from v2g.ocpp.times import format_time
from v2g.ocpp.v16.bridge import Question
from v2g.ocpp.v16.configuration import MOST
from v2g.ocpp.v16.mirror import BegunAs, Mirror, NetworkInUse, NetworkNow, NumberedHere, StateOf
from v2g.ocpp.v16.mirrored import MirroredPeer
from v2g_station.blocks.connection.network import NetworkProfiles
from v2g_station.blocks.evse import Evse
from v2g_station.blocks.transactions.sessions import EvseSessions
from v2g_station.kernel.kernel import Kernel

_NUMBERS: Final = "numbers"
"""The collection of transactions with the numbers that the back end gave them."""


class StationMirror:
    """Makes a peer for each connection. Nothing of it is used while the back end speaks 2.x."""

    def __init__(
        self, kernel: Kernel, evses: Mapping[int, Evse], sessions: EvseSessions, networks: NetworkProfiles
    ) -> None:
        self._k, self._evses, self._sessions, self._networks = kernel, evses, sessions, networks
        most = {key: kernel.model.variable(name).high or 0 for key, name in MOST.items()}
        self._mirror = Mirror(len(evses), most, kernel.stored(_NUMBERS, NumberedHere), self._keep)

    def peer(self, handles: frozenset[str], timeout: float, mend: Mend) -> MirroredPeer:
        """Return the peer of a new connection."""
        return MirroredPeer(
            self._mirror,
            handles=handles,
            find=self._find,
            utc_ms=lambda: self._k.utc_ms,
            entropy=self._k.entropy,
            timeout=timeout,
            mend=mend,
        )

    def _keep(self, transaction_id: str, found: NumberedHere | None) -> None:
        if found is None:
            self._k.forget(_NUMBERS, transaction_id, durable=False)
        else:
            self._k.keep(_NUMBERS, transaction_id, found)

    def _find(self, question: Question) -> object:
        match question:
            case StateOf(evse_id=0):
                return self._k.model.text("ChargingStation.AvailabilityState")
            case StateOf(evse_id=number):
                evse = self._evses.get(number)
                return "" if evse is None or evse.record is None else evse.record.charging_state
            case BegunAs(transaction_id=name):
                evse = self._sessions.find(name)
                record = None if evse is None else evse.record
                if record is None:
                    return None
                return NumberedHere(
                    connector_id=record.evse_id,
                    began=format_time(record.started_ms),
                    meter_start=None if record.begin is None else round(record.begin.import_mwh / 1000),
                    id_tag=record.id_token[:20],
                    reservation_id=record.reservation_id,
                )
            case NetworkNow():
                slot, profile = self._networks.current()
                return NetworkInUse(slot, profile, self._networks.spare())
        raise TypeError(question)
