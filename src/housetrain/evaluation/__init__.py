"""How good a model is: metrics, their uncertainty, and the words for them."""
