"""Whether stations run the software that they ought to (R148): evidence of their TPMs, compared with releases.

Asked for periodically by DataTransfer; what is proved decides exports (`csms.prequalifications`).
Whether a charger is whole: `rules.py`.
"""
