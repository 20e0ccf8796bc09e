"""Decisions about who may charge: tokens, contracts, local lists."""
