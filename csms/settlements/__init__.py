"""Journals of sessions: copies that are durable before they are acknowledged, settlement, corrections, bundles.

Lines come from stations by DataTransfer; complete journals go to `csms.booking`.
Entries that correct a settled session: `work.py`.
"""
