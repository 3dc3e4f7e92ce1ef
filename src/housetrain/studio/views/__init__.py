"""The pages of the studio, one module each: a function ``show`` that draws the page from top to bottom.

The folder is not called pages: Streamlit would take its files for scripts.
"""
