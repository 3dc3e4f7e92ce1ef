"""Plots on the page: drawn as they are, selected where a click was, harmless whatever the names."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest
from studio.conftest import drawings


def matrix() -> None:
    import streamlit as st

    from housetrain.report.plots import confusion
    from housetrain.studio import plot

    table = confusion.confusion_table(("<script>alert(1)</script>", "b"), ((8, 2), (1, 9)))
    st.write("selected", plot.choose(confusion.draw_confusion(table), key="matrix", legend=confusion.LEGEND))


def test_a_plot_comes_with_its_legend_and_the_keys_of_its_marks() -> None:
    test = AppTest.from_function(matrix, default_timeout=60).run()
    assert not test.exception
    drawing = drawings(test)
    assert drawing.count("data-key=") == 4 and 'class="legend"' in drawing
    assert "<script>" not in drawing and "&lt;script&gt;" in drawing


def test_nothing_is_selected_before_a_click() -> None:
    test = AppTest.from_function(matrix, default_timeout=60).run()
    assert [element.value for element in test.markdown] == ["selected `None`"]
