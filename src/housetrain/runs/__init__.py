"""What is kept on disk: crash-safe folders and runs. Knows nothing of Keras."""
