"""How a model is used: bundle and predictor."""
