"""DALL-E's discrete VAE."""
