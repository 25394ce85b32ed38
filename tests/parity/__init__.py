"""The zoo against the implementations that its specs cite: `python -m tests.parity`."""
