"""Benchmarks: choreo beside hand-written loops, in one run, as ratios."""
