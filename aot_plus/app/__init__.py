"""Provides the interactive page: paint objects in a video, track them, correct the masks, export.

``Session`` implements all of it without a page; ``page.py`` shows it in a browser.
"""
