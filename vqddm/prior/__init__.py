"""Step `prior`: the discrete diffusion prior, its samples and completions."""
