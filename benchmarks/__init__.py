"""What the parts cost on this machine, each beside a floor measured in the same run.

Only ratios travel from machine to machine: see docs/benchmarks.md.
"""
