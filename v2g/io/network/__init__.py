"""Interfaces, neighbours, SDP and TCP of the vehicle's link.

What SDP answers, how often a vehicle asks: `sdp.py`.
"""
