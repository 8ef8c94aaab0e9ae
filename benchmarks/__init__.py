"""Speed and memory beside what one would pick instead, in one run: ratios with medians, never a timed test."""
