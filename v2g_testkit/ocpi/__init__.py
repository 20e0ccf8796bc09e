"""The lab for OCPI: it plays an operator, a provider and a hub to a platform under test.

`forms` are the objects as the specification writes them, `partner` is the lab's own end of the roaming, `cases` are
what it does, right and wrong, and `judge` looks over the whole run.
"""
