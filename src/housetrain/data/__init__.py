"""The pictures: reading, checking, splitting, preparing. Knows nothing of Keras."""
