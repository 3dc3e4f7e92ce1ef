"""How good a model is: evaluation and report."""
