"""VQ-DDM: global context with discrete diffusion in vector quantised modelling, reproduced."""
