"""docs/scale.md: the cluster files in docs/cluster, as Ray itself reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

CLUSTER = Path(__file__).resolve().parents[1] / "docs" / "cluster"


def read(name: str) -> dict[str, Any]:
    pytest.importorskip("ray", reason="the extra cluster is not installed")
    import yaml

    found: dict[str, Any] = yaml.safe_load((CLUSTER / name).read_text())
    return found


def test_ray_accepts_the_cluster_file() -> None:
    value = read("ray.yaml")
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(value))
    commands = [*value["head_start_ray_commands"], *value["worker_start_ray_commands"]]
    assert all("RAY_AUTH_MODE=token" in one for one in commands if "ray start" in one)


def test_ray_accepts_the_kubernetes_manifest() -> None:
    value = read("kuberay.yaml")
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
    from ray.autoscaler._private.util import validate_config

    value["metadata"]["namespace"] = "default"  # as the server adds
    config = _derive_autoscaling_config_from_ray_cr(value)
    validate_config(config)
    nodes = config["available_node_types"]
    assert nodes["workers"]["resources"]["CPU"] == 8 and nodes["workers"]["max_workers"] == 10
    assert nodes["headgroup"]["resources"]["CPU"] == 0
    assert value["spec"]["authOptions"] == {"mode": "token"}


def test_both_name_the_version_of_ray_that_the_tests_use() -> None:
    value = read("kuberay.yaml")
    import ray

    assert value["spec"]["rayVersion"] == ray.__version__
