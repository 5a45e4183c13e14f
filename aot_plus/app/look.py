"""Provides the page's scripts, style and theme. All are embedded in the page: nothing is fetched."""

from pathlib import Path

import gradio as gr

from aot_plus.report.write import page_part

__all__ = ["page_head", "page_style", "page_theme"]

_FOLDER = Path(__file__).parent / "page"
# The scripts share one scope and are concatenated in this order.
_SCRIPTS = ("stage.js", "timeline.js", "memory.js", "objects.js", "main.js")


def page_head() -> str:
    """Returns the script element for the head of the page."""
    scripts = [page_part("dom.js"), *((_FOLDER / name).read_text(encoding="utf-8") for name in _SCRIPTS)]
    return '<script>(() => {\n"use strict";\n' + "\n".join(scripts) + "})();</script>"


def page_style() -> str:
    """Returns the style sheet."""
    return page_part("colours.css") + (_FOLDER / "app.css").read_text(encoding="utf-8")


def page_theme() -> gr.themes.Base:
    """Returns Gradio's theme in the page's colours, with fonts that every machine has."""
    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
    theme = gr.themes.Base(
        font=fonts, font_mono=["ui-monospace", "monospace"], radius_size="sm", text_size="md"
    )
    colours = {
        "body_background_fill": "var(--page)",
        "body_text_color": "var(--ink)",
        "body_text_color_subdued": "var(--muted)",
        "block_background_fill": "var(--surface)",
        "block_border_color": "var(--line)",
        "block_label_background_fill": "var(--surface)",
        "block_label_text_color": "var(--muted)",
        "block_title_text_color": "var(--ink)",
        "block_info_text_color": "var(--muted)",
        "border_color_primary": "var(--line)",
        "background_fill_primary": "var(--surface)",
        "background_fill_secondary": "var(--raised)",
        "input_background_fill": "var(--surface)",
        "input_border_color": "var(--line)",
        "input_border_width": "1px",
        "panel_background_fill": "var(--surface)",
        "button_primary_background_fill": "var(--focus)",
        "button_primary_background_fill_hover": "var(--focus)",
        "button_primary_text_color": "var(--surface)",
        "button_secondary_background_fill": "var(--surface)",
        "button_secondary_background_fill_hover": "var(--raised)",
        "button_secondary_border_color": "var(--line)",
        "button_secondary_text_color": "var(--ink)",
        "color_accent_soft": "var(--chosen)",
        "slider_color": "var(--focus)",
    }
    return theme.set(
        color_accent="var(--focus)", **colours, **{f"{name}_dark": value for name, value in colours.items()}
    )
