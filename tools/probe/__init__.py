"""Write the generated items of the shipped probe: `python -m tools.probe.rows`."""
