"""The grid operator's signal."""

import msgspec

from csms.api.http.call import Call
from csms.api.http.operations import get, put
from csms.api.http.problems import ApiError
from csms.domain.security.access import Permission
from v2g.energy.grid_signal import GridSignal, parse_grid_signal


class InForce(msgspec.Struct, frozen=True, kw_only=True):
    """The version of the grid signal in force."""

    version: int


EXAMPLE = {
    "version": 7,
    "issued_at_ms": 1_900_000_000_000,
    "source": "dso",
    "currency": "EUR",
    "slots": [
        {
            "start_ms": 1_900_000_000_000,
            "duration_s": 900,
            "import_price": 300_000,
            "export_compensation": 200_000,
        }
    ],
    "site_import_limit_w": 11_000,
    "export_limit_w": 5_000,
    "valid_until_ms": 1_900_003_600_000,
}


@get("/grid/signal", Permission.READ_GRID, problems=(404,), answer=GridSignal)
async def read_grid_signal(call: Call) -> bytes:
    """Return the grid signal in force."""
    signal = call.services.grid.current
    if signal is None:
        raise ApiError(404, "there is no grid signal yet")
    return signal.to_json()


@put("/grid/signal", Permission.WRITE_GRID, problems=(409,), takes=GridSignal, example=EXAMPLE)
async def put_grid_signal(call: Call, body: bytes) -> InForce:
    """Set the grid signal.

    Its version must be higher than that of the signal in force; repeating the same signal is harmless.
    """
    signal = parse_grid_signal(body)
    if signal != call.services.grid.current:  # a repeated delivery succeeds like the first
        await call.services.grid.offer(signal, f"http:{call.caller.name}"[:64])
    return InForce(version=signal.version)


OPERATIONS = (read_grid_signal, put_grid_signal)
