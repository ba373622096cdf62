"""A small web shop: the application that the demo, the tests and the benchmarks release again and again."""
