"""The options that name a cluster, shared by the verbs that can work on one.

In: what was typed. Out: an executor of trials. It does not know what a cluster is: `housetrain.system.cluster` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from housetrain.cli.options import one_of
from housetrain.errors import RecipeError
from housetrain.system.events import Callback, Callbacks

if TYPE_CHECKING:
    from housetrain.sweeps.executors import Executor

EXECUTORS = ("processes", "ray")

EXECUTOR = Annotated[
    str | None, typer.Option(help="Where the work runs: processes of this machine, or Ray.", metavar="processes|ray")
]
ADDRESS = Annotated[
    str | None,
    typer.Option(
        help="With --executor ray: the cluster; by default Ray is started on this machine for this command.",
        metavar="auto|HOST:6379|ray://HOST:10001",
    ),
]
TRIAL_OPTIONS: dict[str, Any] = {
    "executor": EXECUTOR,
    "address": ADDRESS,
    "storage": Annotated[
        str | None,
        typer.Option(
            help="With --executor ray: where nodes keep runs if they do not see the sweep folder, such as "
            "s3://BUCKET/sweeps.",
            metavar="ADDRESS",
        ),
    ],
    "cpus_per_trial": Annotated[int | None, typer.Option(help="With --executor ray: cores of each trial.", min=1)],
    "gpus_per_trial": Annotated[
        float | None,
        typer.Option(help="With --executor ray: GPUs of each trial; 0.25 lets four share one.", min=0.0),
    ],
}


def refuse_without_ray(options: Mapping[str, Any]) -> bool:
    """Return whether the work is for Ray, and refuse options that mean nothing without it.

    Raises:
        RecipeError: An option of a cluster without ``--executor ray``.
    """
    wanted = one_of("executor", options.get("executor", "processes"), EXECUTORS) == "ray"
    if not wanted and (others := sorted(options.keys() - {"executor"})):
        given = ", ".join(f"--{name.replace('_', '-')}" for name in others)
        raise RecipeError(f"An option of a cluster without a cluster: {given}", do="add --executor ray")
    return bool(wanted)


def executor_of(
    options: Mapping[str, Any], *, workers: int | None, callbacks: Sequence[Callback]
) -> Executor | Literal["processes"]:
    """Return the executor that the options ask for.

    Args:
        options: Those of `TRIAL_OPTIONS` that were given.
        workers: Trials at once.
        callbacks: Receive what the cluster has to say.

    Raises:
        RecipeError: An option of a cluster without ``--executor ray``.
    """
    if not refuse_without_ray(options):
        return "processes"
    from housetrain.sweeps.ray_executor import RayExecutor

    return RayExecutor(
        options.get("address"),
        storage=options.get("storage"),
        workers=workers,
        cpus=options.get("cpus_per_trial", 1),
        gpus=options.get("gpus_per_trial", 0.0),
        note=Callbacks(callbacks).note,
    )
