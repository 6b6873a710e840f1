"""Step `vqgan`: the trained first stage (section 2.2, Table 3)."""
