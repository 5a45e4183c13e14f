"""Checks of a dataset in VOST's layout, each finding with what inference, metric and training make of it."""
