"""Model card: the README of a bundle, with Python that runs as it is (a test runs it).

It begins with the metadata that Hugging Face reads from a README: https://huggingface.co/docs/hub/model-cards.

In: the value of ``bundle.json`` and the folder's name. Out: Markdown. Does not know: how the model was made.
"""

from __future__ import annotations

import json
import shlex
from typing import Any

from housetrain.data.split_manifest import NO_TEST
from housetrain.errors import install_command
from housetrain.images.input_spec import WHITE, InputSpec
from housetrain.inference.formats import format_named
from housetrain.inference.model_format import ModelFormat
from housetrain.inference.novelty import FALSE_ALARMS
from housetrain.system.text import format_count, format_interval, format_percent, format_sentence

_TELL_NOVELTY = ("keras", "openvino", "onnx")  # formats that also return the input of the last layer


def write(name: str, about: dict[str, Any]) -> str:
    """Return the README of a bundle.

    Args:
        name: The bundle folder's name.
        about: The value of its ``bundle.json``.
    """
    formats = [format_named(value["format"]) for value in about["models"]]
    spec = InputSpec.from_json(about["spec"])
    classes = ", ".join(about["classes"][:20]) + (", ..." if len(about["classes"]) > 20 else "")
    parts = [
        _metadata(name, about, formats),
        f"# {name}: an image classifier\n\nClasses: {classes}.\n{_quality(about)}\n{_corrections(about)}"
        f"Images of any size and file format are resized to {spec.height}x{spec.width} {spec.color_mode}.\n",
    ]
    if formats[0].check is not None:
        parts.append(_with_housetrain(name, formats[0]))
    temperature = float(about.get("decision", {}).get("temperature", 1.0))
    parts.append(_without_housetrain(name, formats[0], spec, len(about["classes"]), temperature))
    parts.append(_novelty(bool(about.get("novelty")) and formats[0].name in _TELL_NOVELTY))
    parts.append(_contents(formats))
    keras = f" and Keras {about['keras']}" if about["keras"] else ""
    parts.append(f"Made with housetrain {about['housetrain']}{keras}.\n")
    return "\n".join(parts)


def _metadata(name: str, about: dict[str, Any], formats: list[ModelFormat]) -> str:
    """Return the block of YAML. It names no license: that is for the person who publishes the model."""
    library = ['library_name: "housetrain"'] if formats[0].check is not None else []
    tags = [f"  - {_quoted(tag)}" for tag in ("housetrain", *(one.name for one in formats))]
    lines = ["---", *library, 'pipeline_tag: "image-classification"', "tags:", *tags]
    if (test := _test_result(about)) is not None:
        interval = format_interval(test["accuracy_interval"])
        lines += [
            "model-index:",
            f"  - name: {_quoted(name)}",
            "    results:",
            '      - task: {type: "image-classification", name: "Image classification"}',
            "        dataset:",
            '          type: "custom"',
            f"          name: {_quoted('Images of ' + about['run']['name'])}",
            '          split: "test"',
            "        metrics:",
            '          - type: "accuracy"',
            f"            value: {test['accuracy']:.6f}",  # YAML 1.1 reads 1e-05 as text
            f"            name: {_quoted(f'Accuracy (95 % interval {interval})')}",
        ]
    return "\n".join([*lines, "---", ""])


def _quoted(text: str) -> str:
    """Return a YAML string of any text, such as a stranger's folder name.

    It is a JSON string but for characters above U+FFFF, which stand as they are: YAML does not join two surrogates.
    What UTF-8 cannot encode becomes "?".
    """
    readable = text.encode("utf-8", "replace").decode("utf-8")
    return '"' + "".join(one if one > "\uffff" else json.dumps(one)[1:-1] for one in readable) + '"'


def _test_result(about: dict[str, Any]) -> dict[str, Any] | None:
    test = about["metrics"]["test"]
    return test if test and test.get("accuracy_interval") else None


def _quality(about: dict[str, Any]) -> str:
    if not any(about["counts"]["test"].values()):
        return f"{NO_TEST}."
    if (test := _test_result(about)) is None:
        return "Not tested yet: run `housetrain evaluate`, then export again."
    low, high = test["accuracy_interval"]
    images = format_count(test["n"], "unseen image")
    interval = format_interval((low, high))
    return f"Test accuracy {format_percent(test['accuracy'])} on {images} (95 % interval {interval})."


def _corrections(about: dict[str, Any]) -> str:
    return format_sentence(f"{text} before training") + "\n" if (text := about.get("corrections")) else ""


def _with_housetrain(name: str, file_format: ModelFormat) -> str:
    return f"""\
## Use it

```sh
{install_command(file_format.extra)}    # beside housetrain
housetrain predict {shlex.quote(name)} photo.jpg
```

```python
from housetrain import Predictor

predictor = Predictor.load({name!r})
prediction = predictor.predict("photo.jpg")
print(prediction.label, f"{{prediction.probability:.1%}}")
```

Both expect this folder, `{name}`, and `photo.jpg` in the current folder. For many images:
`housetrain predict {shlex.quote(name)} holiday/ --csv predictions.csv`, or `predictor.predict_many(paths)`.
"""


def _without_housetrain(name: str, file_format: ModelFormat, spec: InputSpec, classes: int, temperature: float) -> str:
    imports, code = file_format.snippet
    mode = "L" if spec.color_mode == "grayscale" else "RGB"
    size = f"({spec.width}, {spec.height})"
    shrunk = {
        "stretch": f"photo.resize({size}, Image.Resampling.BOX)",
        "pad": f"ImageOps.pad(photo, {size}, Image.Resampling.BOX, color=255)",
        "crop": f"ImageOps.fit(photo, {size}, Image.Resampling.BOX)",
    }[spec.resize]
    names = [
        f"classes = json.loads(Path({name!r}, 'bundle.json').read_text())['classes']",
        "probabilities = [1 - probabilities[0], probabilities[0]]  # one output: the probability of the second class"
        if classes == 2
        else "",
        f"powers = np.asarray(probabilities) ** (1 / {temperature})  # the temperature found on validation images"
        if temperature != 1
        else "",
        "probabilities = powers / powers.sum()" if temperature != 1 else "",
        "best = int(np.argmax(probabilities))",
        'print(classes[best], f"{probabilities[best]:.1%}")',
    ]
    deep = "" if spec.white == WHITE else f" (multiply the values of 16-bit images by 255 / {spec.white} first)"
    return f"""\
## Use it without housetrain

{file_format.title} is enough. Scaling is part of the model. Rotate the image upright, resize it to
{spec.width} x {spec.height} by area averaging, and pass it as bytes from 0 to 255{deep}:

```python
import json
from pathlib import Path

{imports}
import numpy as np
from PIL import Image, ImageOps

photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("{mode}")
pixels = np.asarray({shrunk}).reshape(1, {spec.height}, {spec.width}, {spec.channels})
{code.format(path=f"{name}/{file_format.file}")}
{chr(10).join(line for line in names if line)}
```

housetrain decodes with other libraries, so its probabilities may differ in the second digit.
"""


def _novelty(tells: bool) -> str:
    """Return whether the model tells that an image is of something else."""
    if tells:
        return (
            "housetrain marks an image that is unlike the training images as novel. About "
            f"{format_percent(FALSE_ALARMS, 0)} of images like those are marked, too.\n"
        )
    return (
        "The model cannot tell that an image is unlike its training images: for a photo of anything else it names one "
        "of its classes all the same.\n"
    )


def _contents(formats: list[ModelFormat]) -> str:
    lines = [f"| `{file}` | {what} |" for one in formats for file, what in one.contents.items()]
    return "\n".join(
        [
            "## Contents\n",
            "| file | what it is |",
            "| --- | --- |",
            *lines,
            "| `bundle.json` | class names, input size and color, training, test result, when a prediction is unsure |",
            "| `golden.npz` | images and their probabilities, compared each time the model is loaded |",
            "| `seen.npz` | fingerprints of the images it was made with, so that a prediction can recognize them |",
            "| `novelty.npz` | of pretrained models: whether an image is unlike the training images |",
            "| `manifest.json` | size and sha256 of each file, so that a changed file is refused |",
            "",
        ]
    )
