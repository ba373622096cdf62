"""The soak, and what tests that kill controllers share with it: see `docs/how-to/soak.md`."""
