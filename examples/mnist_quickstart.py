"""The MNIST quickstart: train a classifier of handwritten digits.

Usage: python examples/mnist_quickstart.py [FOLDER]

FOLDER contains MNIST's *-ubyte.gz files; without it, the script uses the 1,797 digits of scikit-learn.
"""

import sys
from pathlib import Path

import housetrain as ht

# Load: class folders of images, then arrays, split into train, validation and test.
name = "mnist" if sys.argv[1:] else "digits"
folder = ht.sample(name, Path("sample") / name, source=Path(sys.argv[1]) if sys.argv[1:] else None)
prepared = ht.prepare(folder, image_size=28, color_mode="grayscale", validation_split=0.1, test_split=0.2)

# Print a digit as the model input.
digit, label = prepared.train.images[0, :, :, 0], prepared.classes[prepared.train.labels[0]]
print("\n".join("".join(" .:-=+*#%@"[value // 26] * 2 for value in row) for row in digit), "is a", label)

# Build: scaling to 0..1 is a layer of the model, so predicting cannot omit it.
recipe = ht.Recipe.of("mlp", epochs=3)  # Flatten, Dense 128, Dense 128, softmax; Adam

# Fit.
run = ht.train(prepared, recipe, Path("runs") / f"{name}-mlp", callbacks=[ht.ProgressBar()])

# Evaluate on the test split, which the model has never seen.
evaluation = ht.evaluate(run)
print(f"test accuracy {evaluation.accuracy:.1%}, loss {evaluation.loss:.3f}")

# Export, load and predict.
model = ht.Predictor.load(ht.export(run).folder)
photo = folder / prepared.test.paths[0]
print(photo, "->", model.predict(photo).label)
