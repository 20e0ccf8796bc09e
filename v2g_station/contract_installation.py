"""Fetches a vehicle's contract from the CSMS (M01), with retries until the vehicle's time is over."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from v2g.errors import OcppError, V2GError
from v2g.io.runtime.clock import Clock
from v2g.observe import Observe
from v2g.ocpp.messages.certificates import Get15118EVCertificateResponse
from v2g_station.blocks.security.certificates import (
    UNREACHABLE,
    ContractAnswer,
    ContractRequest,
    contract_answer,
)
from v2g_station.runner import StationRunner

RETRY_S: Final = 0.5
"""Real seconds between two attempts."""


async def fetch_contract(
    request: ContractRequest,
    link: StationRunner,
    clock: Clock,
    *,
    patience: float,
    message_timeout: float,
    observe: Callable[[Observe], None],
) -> ContractAnswer:
    """Return the CSMS's response within `patience` s; wait for the connection and retry where that may help.

    Failures of the CSMS or the network do not raise. If a response is lost, the CSMS answers the repeated request with
    the next contract (M01.FR.07); the vehicle gets the lost one with its next request.
    """

    def note(name: str, **data: Any) -> None:
        observe(Observe("ocpp", name, data))

    deadline = clock.monotonic() + patience
    attempt = 0
    while (rest := deadline - clock.monotonic()) > 0:
        attempt += 1
        try:
            async with asyncio.timeout(rest):
                await link.online.wait()
            rest = max(0.1, deadline - clock.monotonic())
            answer = await link.call(
                request.message(link.version), Get15118EVCertificateResponse, timeout=min(rest, message_timeout)
            )
        except TimeoutError:
            break
        except OcppError as error:
            note("contract_request_failed", attempt=attempt, code=error.answer, reason=str(error)[:200])
            if error.answer != "InternalError":
                return ContractAnswer(status="failed")
        except V2GError as error:
            note("contract_request_failed", attempt=attempt, code=type(error).__name__, reason=str(error)[:200])
        else:
            outcome = contract_answer(answer)
            info = answer.status_info
            note("contract_answered", status=answer.status, reason=info.reason_code if info else "", attempt=attempt)
            return outcome
        await asyncio.sleep(min(RETRY_S, max(0.0, deadline - clock.monotonic())))
    return UNREACHABLE
