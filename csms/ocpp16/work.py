"""Answers the questions of the bridge between a station of 1.6 and this back end."""

from csms.db.store import Store
from csms.ocpp16 import store as numbers
from csms.smart_charging import store as charging
from v2g.io.runtime.clock import Clock
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.transactions import TransactionEventRequest
from v2g.ocpp.v16 import bridge


class StationFacts:
    """What the store knows of one station of 1.6."""

    def __init__(self, store: Store, clock: Clock, station_id: str) -> None:
        self._store, self._clock, self._station_id = store, clock, station_id

    async def find(
        self, question: bridge.Question
    ) -> (
        bridge.Numbered | tuple[bridge.Numbered | bridge.Held, ...] | bridge.Remote | TransactionEventRequest | IdToken
        | str | bool | None
    ):  # fmt: skip
        """Answer a question. Raises StoreError."""
        match question:
            case bridge.NumberOf():
                return await self._store.run(numbers.number_of, self._station_id, question, self._clock.utc_ms())
            case bridge.TransactionOf(number=number):
                return await self._store.read(numbers.find, self._station_id, number)
            case bridge.OngoingAt(at_ms=at_ms):
                return await self._store.read(numbers.ongoing, self._station_id, at_ms)
            case bridge.IsStored(event=event):
                return await self._store.read(numbers.is_stored, self._station_id, event)
            case bridge.EventOf(number=number, kind=kind):
                return await self._store.read(numbers.event_of, self._station_id, number, kind)
            case bridge.TypeOf(id_tag=id_tag):
                return await self._store.read(numbers.type_of, self._station_id, id_tag)
            case bridge.TokenOf(id_tag=id_tag):
                return await self._store.read(numbers.token_of, self._station_id, id_tag)
            case bridge.RemoteOf():
                return await self._store.read(numbers.remote_of, self._station_id, question)
            case bridge.HeldProfiles():
                found = await self._store.read(charging.profiles, self._station_id)
                return tuple(bridge.Held(evse_id, each) for evse_id, source, each in found if source == charging.CSO)
        raise TypeError(question)
