"""Step `data`: one array file per dataset and split."""
