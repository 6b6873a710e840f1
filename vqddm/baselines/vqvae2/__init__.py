"""VQ-VAE-2: two levels of codes."""
