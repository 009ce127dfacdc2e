"""Measurements of speed and packing; none is a test. See docs/placement.md."""
