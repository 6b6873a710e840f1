"""Pixel diffusion."""
