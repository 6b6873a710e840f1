"""Step `refit`: the re-build and fine-tune strategy (section 3.2)."""
