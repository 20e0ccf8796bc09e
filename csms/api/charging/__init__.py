"""How much may flow: smart charging, sites, dispatch, the grid operator's signal."""
