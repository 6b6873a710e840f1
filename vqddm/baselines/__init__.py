"""What the paper compares with: other priors over the same code maps, pixel diffusion, other codebooks."""
