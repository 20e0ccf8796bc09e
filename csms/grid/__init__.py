"""The grid operator's signal: its sources, its limits and prices, and how stations get them; set-points of sources.

What follows from several sources, or without one that is lost: `rules.py`; how its limits are shared over stations:
`limits.py` (fuses of a site: `csms/sites`); stored for all nodes by `source.py`; sent by `signal_delivery.py`. Another
source is a follower, as `price_feed.py`, that calls `GridSource.state`, with a section in `Grid` of `config.py`, whose
order is the priority, and a start in `csms/app.py`. A market's format: `v2g/energy/price_feeds.py`. What events of an
OpenADR VTN demand, and when: `v2g/openadr/demands.py`, followed by `openadr.py`.
"""
