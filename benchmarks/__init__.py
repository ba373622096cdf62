"""What hitless costs and how fast it is, measured: `python -m benchmarks [name ...] [--quick] [--json FILE]`."""
