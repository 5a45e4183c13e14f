"""Checks a dataset in VOST's layout; a finding says what inference, metric and training make of it."""
