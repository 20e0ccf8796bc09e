"""From meter registers to verifiable amounts: journal, intervals, prices, OCMF pair and bundle.

Two directions, as seen from the grid connection and never netted: *import* is energy that the vehicle takes from the
grid, *export* is energy that it feeds back.

Fields of a bundle: `bundle.py`, of its settlement: `settle.py`, of journal entries: `records.py`. Signed readings: ours
are written by `ocmf.py`, others' are read by `v2g/energy/meter_records`. A bundle's receipt
(`v2g settle receipt`): `receipt.py`, its words in `texts`; a driver's page: `csms/drivers`; rows for other programs:
`rows.py`. Rounding: of a line `amount_of` in `pricing.py`, of VAT `taxes.py`, of what is paid `payable` in
`v2g/units.py`.
What a transaction costs, at the station and at the back end: `costing.py`, by `v2g/energy/price_plan.py`; how
settlements are posted in books, and when a period closes: `bookkeeping.py`, stored by `csms/books/store.py`.
Which energy counts over a rollover, a reset or a silent meter: `registers.py`; how a settled session is corrected:
`correct` and `reprice` in `pricing.py`.
What the operator signs (corrections, receipts of journals, closed months): `operator.py`; whether a bundle is complete
at its end: `report.py`, by the vehicle's last receipt (`checkpoints.py`) or the back end's (`bundle.py`).
"""
