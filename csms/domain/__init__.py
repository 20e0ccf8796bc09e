"""Decisions of the back end, by what they are about: values in, values out. Pure."""
