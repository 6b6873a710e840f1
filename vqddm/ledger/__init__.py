"""One DAG, two ledgers: Snakemake runs the DAG, DVC versions what it makes, and each learns what the other knows."""
