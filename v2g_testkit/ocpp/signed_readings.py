"""Judges the signed readings of a station over a whole run: key, signature, value, order. Pure."""

from decimal import Decimal
from typing import Final

from v2g.energy.meter_records import judge
from v2g.energy.meter_records.container import FoundRecord
from v2g.energy.meter_records.keys import MeterKey, read_key
from v2g.energy.meter_records.record import Direction, Record
from v2g.errors import CodecError
from v2g_testkit.ocpp.case import Payload

_DIRECTIONS: Final[dict[str, Direction]] = {
    "Energy.Active.Import.Register": "import",
    "Energy.Active.Export.Register": "export",
}
_KNOWN: Final = ("OCMF", "PCDF")
"""Values of `encodingMethod` by which a record that cannot be read is a fault; others may be a maker's own."""

_MOST_KEYS: Final = 1000


class SignedReadings:
    """Takes sampled values in order; stations may send the key of an EVSE's meter once."""

    def __init__(self) -> None:
        self._keys: dict[int, MeterKey] = {}
        self._last: dict[str, tuple[Record, MeterKey]] = {}

    def fault(self, sample: Payload, evse: int, transaction: str) -> str | None:
        """Return what is wrong with a signed value, "" for nothing, None if it cannot be judged: it is not signed, its
        key has not been sent, or its format or algorithm is not known here.
        """
        signed = sample.get("signedMeterValue")
        if not isinstance(signed, dict):
            return None
        data, method, printed = (
            str(signed.get(each, "")) for each in ("signedMeterData", "encodingMethod", "publicKey")
        )
        if printed:
            try:
                key = read_key(printed)
            except CodecError as error:
                return str(error)
            if evse in self._keys or len(self._keys) < _MOST_KEYS:
                self._keys[evse] = key
        known = self._keys.get(evse)
        found = FoundRecord(place="", data=data.encode("utf-8", "surrogatepass"))
        judged = judge.judge(found, judge.Expected(keys=(known,) if known is not None else ()))
        record = judged.record
        if record is None:
            ours = method.upper() in _KNOWN and judged.verdict != "unsupported"
            return f"{judged.verdict}: {judged.reason}" if ours else None
        if known is None or judged.verdict == "unsupported":
            return None
        if judged.verdict != "verified":
            return f"{judged.verdict}: {judged.reason}"
        last, key_before = self._last.get(transaction, (None, known)) if transaction else (None, known)
        if not key_before.is_same(known):
            return "other_meter: the readings of a transaction are signed by two keys"
        if transaction:
            self._last[transaction] = record, known
        wrong = None if last is None or last.signed == record.signed else judge.out_of_place(last, record)
        if wrong is not None and wrong[0] != "incomplete":  # a station need not send all that its meter signs
            return f"{wrong[0]}: {wrong[1]}"
        return self._value_fault(sample, record)

    @staticmethod
    def _value_fault(sample: Payload, record: Record) -> str:
        measurand = str(sample.get("measurand", "Energy.Active.Import.Register"))
        value, unit = sample.get("value"), sample.get("unitOfMeasure")
        unit = unit if isinstance(unit, dict) else {}
        power = unit.get("multiplier", 0)
        if measurand not in _DIRECTIONS or isinstance(value, bool) or not isinstance(value, int | float):
            return ""
        number = Decimal(repr(value))
        number = number.to_integral_value() if number == number.to_integral_value() else number
        kilo = 3 if str(unit.get("unit", "Wh")) == "kWh" else 0
        if not number.is_finite() or not isinstance(power, int) or abs(power) > 20:
            return ""
        wh, digit = (each.scaleb(power + kilo) for each in (number, Decimal(1).scaleb(int(number.as_tuple().exponent))))
        if judge.carries(record, _DIRECTIONS[measurand], wh, digit):
            return ""
        return f"{measurand} is {wh:f} Wh, which the meter has not signed"
