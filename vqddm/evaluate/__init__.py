"""Step `evaluate`: every measured number, as small JSON."""
