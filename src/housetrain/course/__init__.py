"""The course: the five tutorials, step by step, on a person's own images."""
