"""How much may flow: charging profiles, balancing of sites, dispatch."""
