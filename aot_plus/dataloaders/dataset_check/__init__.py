"""Checks a dataset; each finding says how it affects inference, metric and training."""
