"""How a model is made: recipes, nets, the training loop. Keras lives here."""
