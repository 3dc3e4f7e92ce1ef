"""Recipes, and the models they describe."""
