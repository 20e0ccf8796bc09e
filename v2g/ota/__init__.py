"""Updates over the air: what may be installed, by whose signatures and when. Pure.

Which image may be installed: `release.py`, `v2g/io/ota` (TUF); when: `window.py`; when a fleet stops: `sequential.py`.
An image that OCPP brings is verified in `v2g_station/blocks/firmware.py`.
"""
