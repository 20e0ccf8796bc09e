"""Devices and servers that benchmarks run as processes of their own."""
