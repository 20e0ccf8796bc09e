"""Configuration templates: values that variables of many stations should have, and where they differ."""
