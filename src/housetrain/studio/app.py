"""The entry script that Streamlit runs: menu, then the chosen page."""

from __future__ import annotations

import streamlit as st


def main() -> None:
    """Draw the menu and the chosen page."""
    st.set_page_config(page_title="housetrain studio", page_icon="🏠", layout="wide")
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


main()
