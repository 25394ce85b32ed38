"""The studies of docs/studies.md: measured by `python -m benchmarks.studies`."""
