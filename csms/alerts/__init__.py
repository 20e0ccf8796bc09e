"""What needs a person: rules over what the database shows and nodes know, and who is told.

Reports come from telemetry, plausibility, the grid and stations; alerts go to the feed, webhooks, e-mail and console.
Another alert: `RuleName` and `RULES` in `rules.py`; those of vehicles begin in `csms/batteries/rules.py`. Its text:
`sentences.py`. Who gets an e-mail, how long it waits for others, and when an alert escalates: `rules.py`; which alerts
people see as one: `groups.py`. When an e-mail is tried again: as a webhook, `csms/webhooks/rules.py`.
"""
