"""Power: smart charging, sites, dispatch, the grid operator's signal."""
