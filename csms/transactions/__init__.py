"""Transactions as stations report them (blocks E and J): state from any order of events, meter values, gaps."""
