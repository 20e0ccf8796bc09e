"""The card readers of a station: a card is a token of type ISO14443 (C01)."""

import asyncio
from collections.abc import Callable, Sequence

from v2g.io.hardware.card_reader import CardReaderConfig, SerialCardReader
from v2g.io.runtime.clock import Clock
from v2g.observe import Observe, Scalar
from v2g.ocpp.messages.authorization import IdToken
from v2g_station.blocks.evse import Fact, Token


class CardReaders:
    """All readers; `notify` takes their tokens for the station."""

    def __init__(
        self,
        configs: Sequence[CardReaderConfig],
        clock: Clock,
        *,
        notify: Callable[[Fact], None],
        observe: Callable[[Observe], None],
    ) -> None:
        self._configs, self._clock, self._notify, self._observe = configs, clock, notify, observe
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Open the readers, and keep them open."""
        for each in self._configs:
            reader = SerialCardReader(each, self._clock, on_card=self._card(each), on_ready=self._noted(each))
            self._tasks.append(asyncio.get_running_loop().create_task(reader.run(), name="card reader"))

    async def close(self) -> None:
        """Close the readers."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _card(self, config: CardReaderConfig) -> Callable[[str], None]:
        def present(uid: str) -> None:
            token = IdToken(id_token=uid, type="ISO14443")
            fact = Token(id_token=token, evse_id=config.evse or None)
            asyncio.get_running_loop().call_soon(self._notify, fact)

        return present

    def _noted(self, config: CardReaderConfig) -> Callable[[bool], None]:
        def note(ready: bool) -> None:
            data: dict[str, Scalar] = {"device": config.device}
            self._observe(Observe("hardware", "card_reader_ready" if ready else "card_reader_lost", data))

        return note
