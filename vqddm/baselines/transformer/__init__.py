"""The autoregressive prior over the same code maps."""
