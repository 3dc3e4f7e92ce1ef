"""The README that lies beside a deployed model, with lines of Python that run as they stand (a test runs them).

In: the value of ``bundle.json`` and the folder's name. Out: Markdown. It does not know how the model was made.
"""

from __future__ import annotations

import shlex
from typing import Any

from housetrain.exports.formats import Form
from housetrain.images.decode import InputSpec

_EXTRAS = {"keras": "tensorflow", "openvino": "openvino", "onnx": "export", "litert": "export"}
_WHAT = {
    "model.keras": "the model: uint8 images in, probabilities out, scaling inside; plain Keras loads it too",
    "model.xml": "the model for OpenVINO: its layers; the numbers are in `model.bin`",
    "model.bin": "the numbers of `model.xml`",
    "model.onnx": "the model for ONNX Runtime and everything else that reads ONNX",
    "model.tflite": "the model for LiteRT (TensorFlow Lite), as phones run it",
    "saved_model/": "the model for TensorFlow and TensorFlow Serving",
}
_PLAIN: dict[str, tuple[str, str, str]] = {
    "keras": ("Keras", "import keras", 'model = keras.models.load_model("{path}")\nanswer = model.predict(pixels)[0]'),
    "openvino": (
        "OpenVINO",
        "import openvino",
        'model = openvino.compile_model("{path}", "CPU")\nanswer = model(pixels)[0][0]',
    ),
    "onnx": (
        "ONNX Runtime",
        "import onnxruntime",
        'model = onnxruntime.InferenceSession("{path}")\nanswer = model.run(None, {{"image": pixels}})[0][0]',
    ),
    "litert": (
        "LiteRT",
        "from ai_edge_litert.interpreter import Interpreter",
        'model = Interpreter("{path}")\nmodel.allocate_tensors()\n'
        'model.set_tensor(model.get_input_details()[0]["index"], pixels)\nmodel.invoke()\n'
        'answer = model.get_tensor(model.get_output_details()[0]["index"])[0]',
    ),
    "saved-model": (
        "TensorFlow",
        "import tensorflow as tf",
        'model = tf.saved_model.load("{path}")\nanswer = model.serve(pixels).numpy()[0]',
    ),
}


def write(name: str, about: dict[str, Any]) -> str:
    """Return the README of a bundle.

    Args:
        name: The bundle folder's name.
        about: The value of its ``bundle.json``.
    """
    forms = [Form.from_json(value) for value in about["forms"]]
    spec = InputSpec.from_json(about["spec"])
    classes = ", ".join(about["classes"][:20]) + (", ..." if len(about["classes"]) > 20 else "")
    parts = [
        f"# {name}: an image classifier\n\nTells apart: {classes}.\n{_quality(about)}\n"
        f"It takes images of any size and format, and looks at them as {spec.height}x{spec.width} {spec.color_mode}.\n",
    ]
    if forms[0].engine != "saved-model":
        parts.append(_with_housetrain(name, forms[0]))
    parts.append(_without_housetrain(name, forms[0], spec, len(about["classes"])))
    parts.append(_contents(forms))
    parts.append(f"Made with housetrain {about['housetrain']} and Keras {about['keras']}.\n")
    return "\n".join(parts)


def _quality(about: dict[str, Any]) -> str:
    test = about["metrics"]["test"]
    if not (test and test.get("accuracy_interval")):
        return "It was not tested yet: `housetrain evaluate` does that, then export again."
    low, high = test["accuracy_interval"]
    return f"Right on {test['accuracy']:.1%} of {test['n']:,} test images (95 % interval {low:.1%} to {high:.1%})."


def _with_housetrain(name: str, form: Form) -> str:
    return f"""\
## Use it

```sh
pip install 'housetrain[{_EXTRAS[form.engine]}]'
housetrain predict {shlex.quote(name)} photo.jpg
```

```python
from pathlib import Path

from housetrain import Predictor

predictor = Predictor.load(Path({name!r}))
prediction = predictor.predict(Path("photo.jpg"))
print(prediction.label, f"{{prediction.probability:.1%}}")
```

Both expect this folder, `{name}`, and `photo.jpg` in the folder where you are. Many images:
`housetrain predict {shlex.quote(name)} holiday/ --csv names.csv`, or `predictor.predict_many(paths)`.
"""


def _without_housetrain(name: str, form: Form, spec: InputSpec, classes: int) -> str:
    library, imports, code = _PLAIN[form.engine]
    mode = "L" if spec.color_mode == "grayscale" else "RGB"
    size = f"({spec.width}, {spec.height})"
    shrunk = {
        "stretch": f"photo.resize({size}, Image.Resampling.BOX)",
        "pad": f"ImageOps.pad(photo, {size}, Image.Resampling.BOX, color=255)",
        "crop": f"ImageOps.fit(photo, {size}, Image.Resampling.BOX)",
    }[spec.resize]
    names = [
        f"classes = json.loads(Path({name!r}, 'bundle.json').read_text())['classes']",
        "answer = [1 - answer[0], answer[0]]  # one number: the probability of the second class"
        if classes == 2
        else "",
        "best = int(np.argmax(answer))",
        'print(classes[best], f"{answer[best]:.1%}")',
    ]
    return f"""\
## Use it without housetrain

Any program that has {library} can. Scaling is inside the model; the image is to be turned the right way up, made
{spec.width} wide and {spec.height} high by averaging areas, and passed as bytes from 0 to 255:

```python
import json
from pathlib import Path

{imports}
import numpy as np
from PIL import Image, ImageOps

photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("{mode}")
pixels = np.asarray({shrunk}).reshape(1, {spec.height}, {spec.width}, {spec.channels})
{code.format(path=f"{name}/{form.model}")}
{chr(10).join(line for line in names if line)}
```

housetrain decodes with other libraries, so its probabilities may differ in the second digit.
"""


def _contents(forms: list[Form]) -> str:
    files: dict[str, None] = {}
    for form in forms:
        listed = [f"{form.model}/"] if form.engine == "saved-model" else list(form.files)
        files.update(dict.fromkeys(listed))
    lines = [f"| `{file}` | {_WHAT[file]} |" for file in sorted(files, key=lambda file: list(_WHAT).index(file))]
    return "\n".join(
        [
            "## What is here\n",
            "| file | what it is |",
            "| --- | --- |",
            *lines,
            "| `bundle.json` | class names, input size and color, how it was made, how good, when it is unsure |",
            "| `golden.npz` | images and the answers the model gave: checked each time it is loaded |",
            "| `seen.npz` | fingerprints of the files it was made with: a prediction says if yours was one |",
            "| `manifest.json` | size and sha256 of each file: a changed file is noticed |",
            "",
        ]
    )
