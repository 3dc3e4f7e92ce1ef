"""Run -> bundle: the model in one or more formats, with everything needed to use and check it."""
