"""DIN 70121: messages, charts (`charts.py`), timing (`timing.py`, `v2g/iso15118/engine/message_timing.py`), schedules,
response codes."""
