"""OpenADR 3.1: the objects of a VTN's API, the timing of events, and their demands on a site. Pure.

What events of a VTN demand, and when: `demands.py`, by `timing.py`.
"""
