"""A Ray cluster of several nodes on this machine, as ``ray.cluster_utils`` starts it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

LOCAL = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_health_check_failure_threshold": "3",
         "RAY_health_check_period_ms": "1000", "RAY_health_check_timeout_ms": "3000"}  # fmt: skip


@contextmanager
def nodes(count: int, *, cpus: int = 1) -> Iterator[Any]:
    """Yield a cluster with a head node without cores and ``count`` nodes with ``cpus`` cores each.

    ``cluster.workers`` lists the nodes; ``cluster.remove_node(node, allow_graceful=False)`` kills one.
    """
    pytest.importorskip("ray", reason="the extra cluster is not installed")
    os.environ.update(LOCAL)
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        cluster.workers = [cluster.add_node(num_cpus=cpus, wait=False) for _ in range(count)]
        cluster.wait_for_nodes(timeout=120)
        yield cluster
    finally:
        cluster.shutdown()
        for name in LOCAL:
            os.environ.pop(name, None)
