"""Requests to stations: how they are sent, who may ask for them, and outcomes that come later."""
