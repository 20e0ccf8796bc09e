"""Charging stations as the back end knows them: connectors, what they accepted, clocks, when they were last seen."""
