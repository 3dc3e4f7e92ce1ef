"""Bytes -> pixels and back. Knows nothing of labels and nothing of Keras."""
