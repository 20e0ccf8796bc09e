"""Interfaces, neighbours, SDP and TCP of the vehicle's link.

What SDP answers: `sdp.py`.
"""
