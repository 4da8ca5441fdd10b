"""Benchmarks: contenders measured side by side, with intervals for the ratios of their times."""
