"""Provides the interactive page: paint objects in a video, have them followed, correct, export.

``Session`` does all of it without a page; ``page.py`` puts it into a browser.
"""
