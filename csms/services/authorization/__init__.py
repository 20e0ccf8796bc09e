"""Tokens and local lists."""
