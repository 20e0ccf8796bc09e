"""From meter registers to verifiable amounts: journal, intervals, prices, OCMF pair and bundle.

Two directions, as seen from the grid connection and never netted: *import* is energy that the vehicle takes from the
grid, *export* is energy that it feeds back.
"""
