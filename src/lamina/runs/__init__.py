"""A run as an object: its folder, its settings, its models, its predictor."""
