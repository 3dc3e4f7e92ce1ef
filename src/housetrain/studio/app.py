"""The page's entry, run by Streamlit: password, navigation, then one of the pages."""

from __future__ import annotations

import hmac
import os
import time

import streamlit as st

from housetrain.studio.settings import PASSWORD


def main() -> None:
    """Draw the page that was asked for."""
    st.set_page_config(page_title="housetrain studio", page_icon="🏠", layout="wide")
    if not _may_enter():
        return
    from housetrain.studio.views import compare, data, export, predict, test, train

    pages = {
        "data": st.Page(data.show, title="Data", icon=":material/photo_library:", url_path="data", default=True),
        "train": st.Page(train.show, title="Train", icon=":material/model_training:", url_path="train"),
        "compare": st.Page(compare.show, title="Compare", icon=":material/leaderboard:", url_path="compare"),
        "test": st.Page(test.show, title="Test", icon=":material/fact_check:", url_path="test"),
        "predict": st.Page(predict.show, title="Predict", icon=":material/image_search:", url_path="predict"),
        "export": st.Page(export.show, title="Export", icon=":material/package_2:", url_path="export"),
    }
    st.session_state["pages"] = pages
    st.navigation(list(pages.values()), position="top").run()


def _may_enter() -> bool:
    wanted = os.environ.get(PASSWORD, "")
    if not wanted or st.session_state.get("entered"):
        return True
    st.title("housetrain studio", anchor=False)
    with st.form("enter", width=420):
        given = st.text_input("Password", type="password")
        if st.form_submit_button("Enter", type="primary"):
            if hmac.compare_digest(given.encode(), wanted.encode()):
                st.session_state["entered"] = True
                st.rerun()
            time.sleep(1.0)  # slows guessing
            st.error("That is not the password.")
    return False


main()
