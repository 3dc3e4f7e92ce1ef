"""Plots of a sweep: their tables, and what the drawings show."""

from __future__ import annotations

import itertools
from statistics import fmean
from typing import Any

import pytest
from drawings import HOSTILE, of_class, parsed, texts

from housetrain.report.plots import sweep_plots as plots
from housetrain.sweeps.results import Row


def row(name: str, val_loss: float | None, rank: int | None = None, **settings: Any) -> Row:
    return Row(name=name, state="complete", val_loss=val_loss, rank=rank, settings=settings)


def grid() -> list[Row]:
    """More nodes are better, dense changes nothing: six models in the order of their rank."""
    found = [(nodes, dense, 1 / nodes + 0.001 * dense) for nodes in (32, 64, 128) for dense in (0, 1)]
    found.sort(key=lambda one: one[2])
    return [
        row(f"{nodes}-{dense}", loss, rank, nodes=nodes, dense=dense)
        for rank, (nodes, dense, loss) in enumerate(found, 1)
    ]


# ------------------------------------------------------------------------------------------------- curves
def history(*losses: float | None) -> list[dict[str, Any]]:
    return [{"epoch": epoch, "val_loss": loss} for epoch, loss in enumerate(losses, 1)]


def test_curves_are_the_losses_of_the_rows_in_their_order() -> None:
    rows = grid()
    histories = {one.name: history(0.5, None, one.val_loss) for one in rows[1:]}
    curves = plots.best_curves(rows, {**histories, rows[2].name: []})
    assert [curve.rank for curve in curves] == [2, 4, 5, 6], "the first and third have no history"
    assert curves[0] == plots.Curve(rows[1].name, 2, (0.5, None, rows[1].val_loss))
    many = [row(str(number), 1.0, number) for number in range(1, 12)]
    assert len(plots.best_curves(many, {one.name: history(1.0) for one in many})) == len(plots.STYLES)


def test_each_curve_has_a_line_its_dots_and_its_rank() -> None:
    curves = [plots.Curve("first", 1, (0.5, 0.3, 0.2)), plots.Curve(HOSTILE, 2, (0.6, None, 0.201))]
    drawing = plots.draw_best_curves(curves)
    assert len(of_class(drawing, "curve")) == 2 and len(of_class(drawing, "dot")) == 5
    ends = {element.text: float(element.get("y", 0)) for element in of_class(drawing, "strong")}
    assert ends.keys() == {"1", "2"} and abs(ends["1"] - ends["2"]) >= 12, "readable where two curves meet"
    heights = [float(dot.get("cy", 0)) for dot in of_class(drawing, "dot") if "one" in (dot.get("class") or "").split()]
    assert heights == sorted(heights), "a lower loss is further down"


def test_the_curves_of_all_models_are_in_one_frame_and_the_worst_does_not_flatten_the_best() -> None:
    best = [plots.Curve("a", 1, (0.5, 0.3)), plots.Curve("b", 2, (0.6, 0.4))]
    losses: dict[str, tuple[float | None, ...]] = {HOSTILE: (0.7, 0.5), "diverged": (0.7, 900.0), "none": (None,)}
    others = [plots.Curve(name, rank, values) for rank, (name, values) in enumerate(losses.items(), 3)]
    drawing = plots.draw_best_curves(best, others)
    assert len(of_class(drawing, "curve")) == 4 and len(of_class(drawing, "rest")) == 2
    assert {element.text for element in of_class(drawing, "strong")} == {"1", "2"}
    height = {dot.get("cy") for dot in of_class(drawing, "dot")}
    assert max(map(float, height)) - min(map(float, height)) > 50, "pixels between the best losses"


def test_accuracies_are_drawn_as_percentages_in_their_own_order() -> None:
    rows = grid()[:2][::-1]
    histories = {one.name: [{"epoch": 1, "val_accuracy": 0.5}, {"epoch": 2, "val_accuracy": 0.75}] for one in rows}
    curves = plots.curves_of(rows, histories, "val_accuracy")
    assert curves[0] == plots.Curve(rows[0].name, 1, (0.5, 0.75)), "the place by accuracy, not the rank by loss"
    assert "75.0 %" in plots.draw_best_curves(curves, measure="val_accuracy")


@pytest.mark.parametrize("curves", [[], [plots.Curve("a", 0, (0.5,))], [plots.Curve("a", 1, (None, None))]])
def test_few_or_no_losses_can_be_drawn(curves: list[plots.Curve]) -> None:
    drawing = plots.draw_best_curves(curves)
    assert parsed(drawing) is not None and of_class(drawing, "strong") == []


def test_the_legend_names_rank_and_model() -> None:
    curves = [plots.Curve("a", 1, (0.5,)), plots.Curve("b", 0, (0.5,))]
    assert plots.curves_legend(curves) == [("one", "1 a"), ("two", "b")]


# ------------------------------------------------------------------------------------------------- settings
def test_factors_are_main_effects_the_largest_first() -> None:
    nodes, dense = plots.factors(grid())
    assert (nodes.name, nodes.levels, nodes.best) == ("nodes", (32, 64, 128), 128)
    assert nodes.effect == pytest.approx(1 / 32 - 1 / 128)
    assert (dense.name, dense.best, dense.effect) == ("dense", 0, pytest.approx(0.001))
    mean = fmean(1 / count for count in (32, 64, 128))
    assert [fmean(losses) for losses in dense.losses] == pytest.approx([mean, mean + 0.001])


def test_a_setting_that_no_model_differs_in_is_no_factor() -> None:
    rows = [row("a", 0.2, 1, nodes=32, lr=None), row("b", 0.3, 2, nodes=32, lr=0.1), row("c", None, nodes=64, lr=0.5)]
    [factor] = plots.factors(rows)
    assert (factor.name, factor.levels) == ("lr", (0.1, None)), "numbers first; a model without a result does not count"
    assert plots.factors([]) == ()


def test_many_numbers_are_a_scale_and_few_or_names_are_steps() -> None:
    def of(levels: list[Any]) -> plots.Factor:
        [factor] = plots.factors([row(str(n), 1.0 + n, n, x=level) for n, level in enumerate(levels)])
        return factor

    assert of([10.0**-n for n in range(7)]).continuous
    assert not of([1, 2, 3, 4, 5, 6]).continuous
    assert not of([*range(7), "none"]).continuous and not of(list("abcdefgh")).continuous


def test_levels_of_a_wide_scale_are_placed_by_their_logarithm() -> None:
    rows = [row(str(n), 1.0, n, lr=10.0**-n) for n in range(1, 8)]
    [factor] = plots.factors(rows)
    drawing = plots.draw_factor(factor, low=0.5, high=1.5)
    at = [float(dot.get("cx", 0)) for dot in of_class(drawing, "point")]
    steps = [after - before for before, after in itertools.pairwise(at)]
    assert steps == pytest.approx([steps[0]] * 6, abs=0.03) and steps[0] > 0
    assert of_class(drawing, "curve") == [], "no line through means of one model each"
    assert {"1e-7", "1e-1"} <= set(texts(drawing)), "both in one form"


def test_the_levels_of_a_setting_are_written_in_one_form() -> None:
    few = [row(str(n), 1.0, n, lr=rate) for n, rate in enumerate((1e-5, 1e-4, 3e-4))]
    found = plots.factors(few)
    for drawing in (plots.draw_factor(found[0], low=0.5, high=1.5), plots.draw_parallel(few, found)):
        assert {"1e-5", "1e-4", "3e-4"} <= set(texts(drawing))
    plain = plots.factors([row(str(n), 1.0, n, lr=rate) for n, rate in enumerate((1e-3, 3e-4, 0.0))])
    assert {"0.001", "0.0003", "0"} <= set(texts(plots.draw_factor(plain[0], low=0.5, high=1.5)))


def test_steps_show_each_model_and_the_mean_of_each_level() -> None:
    nodes, _ = plots.factors(grid())
    drawing = plots.draw_factor(nodes, low=0.0, high=0.04)
    assert len(of_class(drawing, "point")) == 6 and len(of_class(drawing, "dot")) == 3
    assert {"32", "64", "128", "nodes"} <= set(texts(drawing))
    assert "best on average with 128" in (parsed(drawing).get("aria-label") or "")
    heights = [float(dot.get("cy", 0)) for dot in of_class(drawing, "dot")]
    assert heights == sorted(heights), "more nodes, lower loss, further down"


# ------------------------------------------------------------------------------------------------- parallel coordinates
def test_each_ranked_model_is_one_line_the_best_on_top() -> None:
    rows = [*grid(), row("failed", None, nodes=16, dense=0)]
    drawing = plots.draw_parallel(rows, plots.factors(rows))
    threads = of_class(drawing, "thread")
    assert len(threads) == 6 and "best" in (threads[-1].get("class") or "").split()
    assert [thread[0].text.partition(":")[0] for thread in threads] == [
        f"{one.rank}. {one.name}" for one in reversed(grid())
    ]
    assert {"nodes", "dense", "validation loss", f"{rows[0].val_loss:.4f}"} <= set(texts(drawing))


def test_equal_losses_and_hostile_values_can_be_drawn() -> None:
    rows = [row(HOSTILE, 0.5, 1, weights=HOSTILE), row("b", 0.5, 2, weights="b")]
    found = plots.factors(rows)
    assert len(of_class(plots.draw_parallel(rows, found), "thread")) == 2
    assert parsed(plots.draw_factor(found[0], low=0.5, high=0.5)) is not None


def test_the_ranks_at_the_ends_of_close_curves_keep_the_order_of_the_curves() -> None:
    values = (0.955, 0.953, 0.94, 0.935, 0.93)
    curves = [plots.Curve(f"m{n}", n, (0.85, value)) for n, value in enumerate(values, 1)]
    labels = of_class(plots.draw_best_curves(curves, measure="val_accuracy"), "strong")
    places = {label.text: float(label.get("y", 0)) for label in labels}
    assert sorted(places, key=lambda rank: places[rank]) == ["1", "2", "3", "4", "5"]
    ordered = sorted(places.values())
    assert all(below - above > 11.9 for above, below in itertools.pairwise(ordered))
