"""The interactive page: paint objects in a video, have them followed, correct, export.

``Session`` is all of it without a page; ``page.py`` puts it into a browser.
"""
