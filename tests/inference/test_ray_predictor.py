"""Prediction on a cluster: the rows of this machine, in order, each once. With real nodes that die behind ``slow``."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_ray import FakeRay
from ray_nodes import nodes
from small_run import Tiny

from housetrain.errors import HousetrainError
from housetrain.inference import ray_predictor
from housetrain.inference.batch_predict import predict_into
from housetrain.inference.inputs import Listing
from housetrain.inference.prediction import Prediction
from housetrain.inference.predictor import Predictor
from housetrain.inference.ray_predictor import RayPredictor

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def actors(monkeypatch: pytest.MonkeyPatch, fake_ray: FakeRay) -> FakeRay:
    """One actor in this process instead of Ray Data."""

    def rows(ray: Any, names: list[str], given: tuple[Any, ...]) -> Iterator[str]:
        actor = ray_predictor._Classify(*given)
        for one in actor._predictor.predict_many(names, **actor._options):
            yield json.dumps(one.to_json())

    monkeypatch.setattr(ray_predictor, "_rows", rows)
    return fake_ray


def test_the_command_writes_the_rows_of_this_machine(tiny: Tiny, actors: FakeRay, tmp_path: Path, call: Call) -> None:
    tables = []
    for name, words in (("here", ()), ("there", ("--executor", "ray"))):
        assert call("predict", tiny.run, tiny.images, "--csv", tmp_path / name, *words)[0] == 0
        tables.append((tmp_path / name).read_bytes())
    assert tables[0] == tables[1] and tables[0].count(b"\n") == 49 and actors.puts > 3


def test_a_run_without_a_bundle_reaches_the_nodes_too(tiny: Tiny, actors: FakeRay, received: Path) -> None:
    import shutil

    shutil.rmtree(received / "bundle")
    with RayPredictor(received) as there, Predictor.load(received) as here:
        images = Listing([tiny.images])
        assert list(there.predict_many(images)) == list(here.predict_many(images))
        assert list(there.predict_many([])) == []


def test_an_image_that_a_node_does_not_see_is_one_line(
    tiny: Tiny, actors: FakeRay, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lost = json.dumps({"image": "x", "error": "file not found"})
    monkeypatch.setattr(ray_predictor, "_rows", lambda ray, names, given: iter([lost] * len(names)))
    here = next(iter(Listing([tiny.images])))
    with RayPredictor(tiny.run) as there:
        with pytest.raises(HousetrainError, match="does not see an image"):
            list(there.predict_many([here]))
        assert [one.error for one in there.predict_many([tmp_path / "gone.png"])] == ["file not found"]
        monkeypatch.setattr(ray_predictor, "_rows", lambda ray, names, given: iter([lost]))
        with pytest.raises(HousetrainError, match=r"lost predictions.*images=2, predictions=1"):
            list(there.predict_many([tmp_path / "gone.png"] * 2))


def test_other_versions_on_a_node_are_one_line(tiny: Tiny) -> None:
    with pytest.raises(HousetrainError, match="has other versions"):
        ray_predictor._Classify(None, None, {}, {}, {"numpy": "0.1"})


def test_an_address_that_ray_data_cannot_use_is_one_line(tiny: Tiny, call: Call) -> None:
    code, _, err = call("predict", tiny.run, tiny.images, "--executor", "ray", "--address", "ray://head:10001")
    assert code == 2 and "does not work through ray://. Do: give HOST:6379" in err


def test_each_actor_has_the_cores_of_the_smallest_node() -> None:
    assert ray_predictor._actors([0.0, 4.0, 8.0, 9.5]) == (5, 4) and ray_predictor._actors([1.0]) == (1, 1)
    with pytest.raises(HousetrainError, match="no node with a core"):
        ray_predictor._actors([0.0])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_nodes_that_die_cost_no_row_and_give_none_twice(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row per image, in order, with the numbers of this machine, while five of six nodes are killed."""
    monkeypatch.setattr(ray_predictor, "BLOCK", 16)
    files = sorted(tiny.images.rglob("*.png"))
    many = [tmp_path / "many" / f"{number:04}.png" for number in range(3000)]
    many[0].parent.mkdir()
    for number, path in enumerate(many):
        path.hardlink_to(files[number % len(files)])
    with Predictor.load(tiny.run) as here:
        predict_into(tmp_path / "here.csv", here, many)
    chance, seen = random.Random(0), 0
    moments = chance.sample(range(1, 1500), 5)
    with nodes(6) as cluster:

        def kill(one: Prediction) -> None:
            nonlocal seen
            seen += 1
            if seen in moments:
                node = cluster.workers.pop(chance.randrange(len(cluster.workers)))
                cluster.remove_node(node, allow_graceful=False)

        with RayPredictor(tiny.run, address=cluster.address) as there:
            predict_into(tmp_path / "there.csv", there, many, each=kill)
        assert len(cluster.workers) == 1
    assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
    with (tmp_path / "there.csv").open() as file:
        assert [row["image"] for row in csv.DictReader(file)] == list(map(str, many))
