"""A page on which a trained model is tried: `vqddm demo`. No result depends on anything here."""
