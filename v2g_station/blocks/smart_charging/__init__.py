"""Charging profiles and what else bounds an EVSE (OCPP K).

What charging profiles allow, by purpose and stack level: `profiles.py`; when one applies: `profile_times.py`; which are
accepted: `profile_rules.py`.
"""
