"""Files that are no images."""

from __future__ import annotations

import pytest

from housetrain.data.foreign_files import foreign_name, instead_of_images


@pytest.mark.parametrize(
    ("name", "pattern"),
    [("a/b.XMP", "*.xmp"), ("a/IMG.AAE", "*.aae"), ("LICENSE", "LICENSE"), ("a/b.jpg", ""), ("x", "")],
)
def test_what_programs_write_beside_photos_is_passed_over(name: str, pattern: str) -> None:
    assert foreign_name(name) == pattern


@pytest.mark.parametrize(
    ("names", "said", "do"),
    [
        (["a/1.mp4", "b/2.MP4"], "2 files of type .mp4", "ffmpeg"),
        (["train.zip"], "1 file of type .zip", "unpack it"),
        (["data/train-0.parquet"], "1 file of type .parquet", "save each image"),
        (["cats.tfrecord-00000-of-00002"], "1 file of type .tfrecord", "save each image"),
        (["train-images-idx3-ubyte"], "1 file of type .idx3-ubyte", "numpy.savez"),
        (["t10k-images-idx3-ubyte.gz"], "1 file of type .idx3-ubyte", "sample mnist --arrays --source FOLDER"),
        (["README"], "", ""),
    ],
)
def test_a_folder_without_images_says_what_it_holds(names: list[str], said: str, do: str) -> None:
    found = instead_of_images(names)
    assert found[0] == said and (do in found[1] if do else not found[1])
