"""Price plans (tariffs), whom they apply to, running costs, prices at stations and vehicles (block I, K15 to K19).

Which plan applies: `plans.py`; when a rate applies, and what it costs: `v2g/energy/price_plan.py`, then
`v2g/energy/settlement/costing.py`.
"""
