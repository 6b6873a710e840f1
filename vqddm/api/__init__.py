"""A trained model for use: from Python, as commands, exported. No result depends on anything here."""
