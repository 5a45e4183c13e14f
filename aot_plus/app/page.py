"""Builds the page: Gradio forms to open, configure and export, around the studio, which is our own script."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import wraps
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from aot_plus.app.answers import Answers
from aot_plus.app.export import LAYOUTS
from aot_plus.app.session import Session
from aot_plus.app.settings import DTYPES, Settings, about_model, checkpoint_files
from aot_plus.networks.memory.policies import POLICIES
from aot_plus.utils.config import model_names
from aot_plus.utils.errors import DataError, VOSError
from evaluation.files import replacing

__all__ = ["build_page"]

_MOUNT = "window.aotApp.mount('{part}', element, server, upload);"
_NAMED = "Or choose one from the folders given by <code>--folder</code>:"
_NOT_NAMED = "To open videos without uploading them, start the app with <code>--folder DIR</code>."
_OWN_CHECKPOINT = "the model's own"

_Updates = dict[gr.blocks.Block, Any]  # what a handler returns: component -> its new value, or gr.update(...)


def build_page(session: Session, uploads: Path) -> gr.Blocks:
    """Builds the page of a session. ``uploads``: the folder for files uploaded from the browser."""
    with gr.Blocks(title="AOT+: paint, track, correct", analytics_enabled=False, fill_width=True) as blocks:
        page = _Page(session, uploads)
        page.wire(blocks)
    return blocks


def _say(error: VOSError) -> None:
    """Shows an error as a warning. Names in it are escaped: they are text, never HTML."""
    gr.Warning(escape(str(error)), duration=10)  # app.css gives it a title: Gradio ignores ours


class _Page:
    """Holds the components and handles their events."""

    def __init__(self, session: Session, uploads: Path) -> None:
        self.session = session
        self.uploads = uploads
        self.answers = Answers(session, uploads)
        with gr.Row(elem_id="head"):
            self.title = gr.HTML()
            self.close = gr.Button("Open another video", size="sm", visible=False, elem_id="close")
        with gr.Column(visible=False, elem_id="start") as self.start:
            self._build_start()
        with gr.Column(visible=False, elem_id="work") as self.work:
            self._build_work()

    # --- components

    def _build_start(self) -> None:
        named = bool(self.session.places)
        with gr.Column(elem_classes="choice"):
            gr.HTML("<h2>A video from this computer</h2>")
            self.upload = gr.File(show_label=False, container=False, elem_id="upload", height=124)
            gr.HTML(f"<p>{_NAMED if named else _NOT_NAMED}</p>")
            self.video = gr.Dropdown([], show_label=False, container=False, visible=named, elem_id="video")
            self.open = gr.Button("Open", visible=named, elem_id="open")
        with gr.Column(elem_classes="choice"):
            gr.HTML("<h2>The example</h2><p>A synthetic video of 14 seconds, generated on the spot.</p>")
            self.example = gr.Button("Open the example", variant="primary", elem_id="example")
        with gr.Column(elem_classes="choice"):
            gr.HTML("<h2>A saved project</h2><p>With everything painted and segmented so far.</p>")
            self.saved = gr.Dropdown([], show_label=False, container=False, elem_id="saved")
            self.go_on = gr.Button("Continue", elem_id="go-on")

    def _build_work(self) -> None:
        with gr.Column(elem_id="main-part"):
            self._mount("main", [self._asking()])
        with gr.Column(elem_id="side-part"):
            self._mount("side", [])
            with gr.Accordion("Model and memory", open=False, elem_id="settings"):
                self._build_settings()
            with gr.Accordion("Export", open=False, elem_id="export"):
                names = [(f"{layout.upper()}'s layout", layout) for layout in LAYOUTS]
                self.layout = gr.Radio(names, value=LAYOUTS[0], label="Masks, as palette PNG files in")
                self.export = gr.Button("Export masks and overlay", elem_id="make-export")
                self.download = gr.DownloadButton("Download the zip", visible=False, elem_id="download")
                self.exported = gr.Markdown()

    def _mount(self, part: str, functions: list[Callable[..., Any]]) -> None:
        """Adds the element in which the script builds a part of the studio."""
        gr.HTML(
            html_template="<div></div>",
            js_on_load=_MOUNT.format(part=part),
            server_functions=functions,
            apply_default_css=False,
        )

    def _asking(self) -> Callable[..., Any]:
        """Returns the function that answers the script's requests: Gradio accepts no methods here."""

        def ask(request: dict[str, Any]) -> dict[str, Any]:
            return self.answers.answer(str(request.get("action")), request.get("values") or {})

        return ask

    def _build_settings(self) -> None:
        self.inputs: dict[str, Any] = {"model": gr.Dropdown(model_names(), label="Model", elem_id="model")}
        self.about = gr.Markdown(elem_id="about")
        self.inputs |= {
            "checkpoint": gr.Dropdown([], label="Checkpoint", elem_id="checkpoint"),
            "policy": gr.Dropdown([], label="Memory policy: which frame a full memory bank drops"),
            "capacity": gr.Number(precision=0, label="Capacity: number of frames in the memory bank"),
            "gap": gr.Number(
                precision=0,
                label="Memory gap: store every nth frame",
                info="0: depends on the video's length",
            ),
            "dtype": gr.Dropdown(list(DTYPES), label="Precision"),
            "long_edge": gr.Number(
                precision=0,
                label="Longest side of the network's input, in pixels",
                info="0: the model's default",
            ),
        }

    # --- events

    def wire(self, blocks: gr.Blocks) -> None:
        """Connects the events to their handlers."""
        quiet: dict[str, Any] = {"show_progress": "hidden"}
        opening = [self.close, self.start, self.work, self.upload, self.video, self.saved]
        settings = [*self.inputs.values(), self.about]
        outputs = [self.title, *opening, self.download, self.exported, *settings]
        blocks.load(self._shown, outputs=outputs, **quiet)
        self.close.click(self._opening(self.session.close), outputs=outputs, **quiet)
        self.upload.upload(
            self._opening(self._take_upload), self.upload, outputs, show_progress_on=self.upload
        )
        self.example.click(
            self._opening(self.session.open_example), outputs=outputs, show_progress_on=self.example
        )
        self.open.click(self._opening(self._open), self.video, outputs, show_progress_on=self.open)
        self.go_on.click(self._opening(self._go_on), self.saved, outputs, show_progress_on=self.go_on)
        for name, component in self.inputs.items():
            if isinstance(component, gr.Number):
                component.input(self._typing(name), component, trigger_mode="always_last", **quiet)
                gr.on([component.submit, component.blur], self._number(name), component, component, **quiet)
            else:
                component.input(self._choice(name), component, settings, **quiet)
        self.export.click(self._export, self.layout, [self.download, self.exported])

    def _opening(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """Wraps work that opens or closes a project: updates the page afterwards, even if it failed."""

        @wraps(work)
        def opening(*values: Any) -> _Updates:
            try:
                work(*values)
            except VOSError as error:
                _say(error)
            return self._shown()

        return opening

    def _take_upload(self, path: str | None) -> None:
        if path is None:
            raise DataError("no file was received")
        self.session.open_upload(Path(path), Path(path).name)

    def _open(self, path: str | None) -> None:
        if not path:
            raise DataError("choose a video first")
        self.session.open_video(path)

    def _go_on(self, name: str | None) -> None:
        if not name:
            raise DataError("choose a project first")
        self.session.open_project(name)

    def _shown(self) -> _Updates:
        """Returns the updates of all components that depend on the open project."""
        is_open, saved = self.session.is_open, self.session.saved()
        title = self.session.opened.project.title if is_open else ""
        return {
            self.title: _title(title),
            self.close: gr.update(visible=is_open),
            self.start: gr.update(visible=not is_open),
            self.work: gr.update(visible=is_open),
            self.upload: gr.update(value=None),
            self.video: gr.skip() if is_open else gr.update(choices=self.session.places.videos(), value=None),
            self.saved: gr.update(choices=saved, value=saved[0] if saved else None),
            self.download: gr.update(visible=False),
            self.exported: "",
            **self._settings(),
        }

    @property
    def _current(self) -> Settings:
        """Returns the settings of the open project, or those for new projects if none is open."""
        return self.session.opened.project.settings if self.session.is_open else self.session.settings

    def _settings(self) -> _Updates:
        """Returns the updates of the settings, and the text about the model."""
        settings = self._current
        files = sorted({*checkpoint_files(), settings.checkpoint} - {""})
        choices: dict[str, list[Any]] = {
            "checkpoint": [(_OWN_CHECKPOINT, ""), *files],
            "policy": list(dict.fromkeys([*POLICIES, settings.policy, self.session.settings.policy])),
        }
        updates: _Updates = {self.about: about_model(settings.model)}
        for name, component in self.inputs.items():
            options: dict[str, Any] = {"choices": choices[name]} if name in choices else {}
            updates[component] = gr.update(value=getattr(settings, name), **options)
        return updates

    def _choice(self, name: str) -> Callable[[Any], _Updates]:
        """Returns a handler that changes a setting chosen from a list; an invalid choice is reverted."""

        def change(value: Any) -> _Updates:
            self._change(name, value)
            return self._settings()

        return change

    def _number(self, name: str) -> Callable[[Any], int]:
        """Returns a handler that changes a number once it is typed; an invalid one is reverted.

        Only the number's own field is updated.
        """

        def change(value: Any) -> int:
            self._change(name, value or 0)
            return int(getattr(self._current, name))

        return change

    def _typing(self, name: str) -> Callable[[Any], None]:
        """Returns a handler that changes a number while it is being typed, as long as it is valid."""

        def change(value: Any) -> None:
            with suppress(VOSError):
                self.session.change_settings(**{name: value or 0})

        return change

    def _change(self, name: str, value: Any) -> None:
        values = {name: value} | ({"checkpoint": ""} if name == "model" else {})
        try:
            self.session.change_settings(**values)
        except VOSError as error:
            _say(error)

    def _export(self, layout: str, progress: gr.Progress = gr.Progress()) -> Iterator[list[Any]]:  # noqa: B008 (Gradio's way)
        yield [gr.update(visible=False), ""]  # the earlier zip, which the script may have hidden
        try:
            path = self.session.export(layout, lambda done, total: progress((done, total), unit="frames"))
            copy = self._offered(path)
        except VOSError as error:
            _say(error)
            return
        written = escape(str(path.parent))
        yield [gr.update(value=str(copy), visible=True), f"Written to `{written}`."]

    def _offered(self, path: Path) -> Path:
        """Copies a project's export to where the browser may download from, in place of its earlier one.

        The address stays the same, so that the links in other tabs lead to the new export.
        """
        copy = self.uploads / "export" / path.parent.parent.name / path.name
        with replacing(copy) as temporary:
            shutil.copyfile(path, temporary)
        return copy


def _title(title: str) -> str:
    about = escape(title) if title else "Open a video, paint the objects, track them, correct the masks."
    return f"<h1>AOT+</h1><p>{about}</p>"
