"""Events posted to other systems over HTTPS, signed, until delivered.

When a delivery is tried again and given up, signatures, which hosts may be called: `rules.py`; kinds of events:
`csms/events`.
"""
