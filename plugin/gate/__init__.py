"""Decide from a finished run whether a model may ship: rules, outcomes, and files for CI."""
