"""Files that outlive a power cut: journal, outbox, sealed lines.

How files are sealed at rest, and with which key: `record_keys.py`; other numbers than a vehicle's boot: `outbox.py`.
"""
