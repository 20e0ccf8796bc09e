"""DIN 70121: messages, charts (`charts.py`), timing, schedules, response codes."""
