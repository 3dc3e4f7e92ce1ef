"""The MNIST quickstart: from images of digits to a model that reads them.

Run it with the folder of MNIST's *-ubyte.gz files, or without, for the 1,797 digits that come with scikit-learn:
python examples/mnist_quickstart.py [FOLDER]
"""

import sys
from pathlib import Path

import housetrain as ht

# Load: digits as class folders of images, then as arrays, split into train, validation and test.
name = "mnist" if sys.argv[1:] else "digits"
folder = ht.sample(name, Path("sample") / name, source=Path(sys.argv[1]) if sys.argv[1:] else None)
prepared = ht.prepare(folder, image_size=28, color_mode="grayscale", validation_split=0.1, test_split=0.2)

# Look at a digit: what the model will eat.
digit, label = prepared.images("train")[0, :, :, 0], prepared.classes[prepared.labels("train")[0]]
print("\n".join("".join(" .:-=+*#%@"[value // 26] * 2 for value in row) for row in digit), "is a", label)

# Normalize and build: scaling to 0..1 is a layer of the model, so nobody can forget it when predicting.
recipe = ht.Recipe.of("mlp", epochs=3)  # Flatten, Dense 128, Dense 128, softmax; Adam

# Fit.
run = ht.train(prepared, recipe, Path("runs") / f"{name}-mlp", callbacks=[ht.ProgressBar()])

# Evaluate on digits the model has never seen.
evaluation = ht.evaluate(run)
print(f"test accuracy {evaluation.accuracy:.1%}, loss {evaluation.loss:.3f}")

# Save, load back, predict, and look at the prediction.
model = ht.Predictor.load(ht.export_bundle(run, Path("runs") / f"{name}-mlp" / "bundle"))
photo = folder / prepared.paths("test")[0]
print(photo, "->", model.predict(photo).label)
