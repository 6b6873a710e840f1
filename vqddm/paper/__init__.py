"""Every table, figure and claim of the paper, made from finished files; nothing here imports the models."""
