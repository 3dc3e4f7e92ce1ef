"""The images: reading, checking, splitting, preparing. Knows nothing of Keras."""
