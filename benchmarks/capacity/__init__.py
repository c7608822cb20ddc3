"""How many users can watch their answers stream in real time on one process: docs/benchmarks.md."""
