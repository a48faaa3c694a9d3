"""Running the first stage of a model in another library than torch."""
