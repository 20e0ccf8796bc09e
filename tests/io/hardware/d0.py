"""What several tests of d0 use."""

from tests.hardware.meters.sml import file, list_of, number, value


def telegram(import_wh: int, export_wh: int = 0) -> bytes:
    rows = (("1.8.0", import_wh), ("2.8.0", export_wh))
    return file(list_of(*(value(code, 30, 0, number(wh, 8, signed=False)) for code, wh in rows)))
