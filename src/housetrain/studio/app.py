"""The entry script that Streamlit runs: password, menu, then the chosen page."""

from __future__ import annotations

import hmac
import os
import time

import streamlit as st

from housetrain.studio.settings import PASSWORD


def main() -> None:
    """Ask for the password where one is set, then draw the chosen page."""
    st.set_page_config(page_title="housetrain studio", page_icon="🏠", layout="wide")
    if not _authenticated():
        return
    from housetrain.studio.views import find_pages

    views = find_pages()
    pages = {
        name: st.Page(
            view.show,
            title=view.PAGE.title,
            icon=f":material/{view.PAGE.icon}:",
            url_path=name,
            default=view is next(iter(views.values())),
        )
        for name, view in views.items()
    }
    st.session_state["pages"] = pages
    st.navigation(list(pages.values()), position="top").run()


def _authenticated() -> bool:
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
            time.sleep(1.0)  # slows down guessing
            st.error("Wrong password.")
    return False


main()
