"""A mirror of stations' device models: variables read and written, reports, resets, network profiles (block B).

Filled by reports of stations; other features look up there what a station can do.
"""
