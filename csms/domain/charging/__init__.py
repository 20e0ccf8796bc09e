"""Power decisions: profiles, plans, balancing, dispatch.

What follows from several sources of the grid signal: `grid_sources.py`; stored for all nodes by `csms/grid/source.py`.
Whether a station may feed back by its prequalification: `prequalification.py`, kept by `csms/grid/permits.py`, applied
by `csms/grid/signal_delivery.py`, dispatch and smart charging.
How a set-point is split within a site: `site_dispatch.py`, by `v2g/energy/dispatch/split.py`.
"""
