"""Mutants of the modules that decide power, money and trust: `make mutants`. Each differs from its module in one place,
and a test has to notice.

Ready-made tools leave out what counts here: the decisions in properties, and constants of modules and classes.
"""
