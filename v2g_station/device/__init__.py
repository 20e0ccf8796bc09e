"""The station's device: logs, firmware, certificates, display, payment terminal, card readers.

What drivers see: `display.py`; the word for the result of their request: `Indicate`, by the block that decides; as
lines of text: `v2g/hardware/line_display.py`.
"""
