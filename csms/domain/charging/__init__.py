"""Power decisions: profiles, plans, balancing, dispatch."""
