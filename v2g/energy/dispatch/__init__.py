"""Plans for a fleet at one site: when each vehicle charges, discharges or waits, and what the fleet can offer the grid.

Pure: facts and times are arguments. Only `lp` imports SciPy and NumPy (extra `planning`), when a plan is made. Powers
are W, positive into the vehicle, energies Wh in the battery, prices micro-units per kWh, times UTC ms.

How a back end uses it::

    periods = make_periods(tariff, now_ms, now_ms + 24 * HOUR_MS, import_limit_w=transformer.limit_w())
    periods = with_forecast(periods, load_w=..., pv_w=..., temperature_c=...)      # as far as known
    periods = shave_peak(periods, PeakWindow(1020, 1260), zone, import_limit_w=50_000)   # optional: 17:00 to 21:00
    problem = DispatchProblem(periods=periods, vehicles=vehicles, climate=CLIMATE)
    plan = make_plan(problem)            # blocks: 100 vehicles x 96 quarter hours 0.1 to 0.5 s; call it in a thread
    plan.power_w(vehicle_id, now_ms)     # set-point of a vehicle; `PlanFollower` adds hysteresis at the reserve
    earned = earnings(problem, plan)     # net gain over charging at once, after wear
    explain(problem, plan, earned), chart(problem, plan)   # sentences, SVG
    ranges = capabilities(problem, plan); bids(problem, ranges); activate(up_w, ranges[0].vehicles)

Make a new plan when a vehicle arrives, leaves or changes its needs, and when prices, limits or forecasts change: a plan
starts from the present state and knows nothing of the one before. Many vehicles that start at once are raised in steps
by `transformer.raise_steps`.

When each vehicle charges or discharges: `planner.py`; what the fleet offers beside its plan: `flexibility.py`; how a
set-point is split: `split.py`; which past days (weekdays, weekends) a forecast of load resembles: `forecast.py`.
"""
