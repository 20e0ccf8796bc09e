"""Deletes what is older than the configuration keeps, in steps that nobody waits for.

When records may be deleted: `store.py`.
"""
