"""ISO 15118-20, ISO 15118-2 and DIN 70121, each in a folder, over an engine without an edition. Pure.

Which editions a transport carries: `select.py`; what is allowed to odd chargers and vehicles: `engine/quirks.py`.
"""
