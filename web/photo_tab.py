"""The tab for photos: drop one, see it restored beside the original, and change how it looks."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from web.events import at_once, offered, on_step_of, told_errors, with_the_model
from web.open_photo import OpenPhoto
from web.results import Results
from web.studio import MOST_STRENGTH, Look, Studio

KEPT_SECONDS = 3600.0  # how long what was found for a photo stays without being used
DROP_HEIGHT = 120  # px of the boxes that photos are dropped on
NOTES_HEIGHT = 90  # px, in which the progress of what follows the first look is shown

Shown = tuple[tuple[np.ndarray, np.ndarray] | None, dict[str, Any]]  # both sides of the slider, and the file


class PhotoTab:
    """The tab's components and what happens in it; what belongs to a user is in `gr.State` alone.

    Args:
        studio: the network.
        results: folder that results are written to.
    """

    def __init__(self, studio: Studio, results: Results) -> None:
        self.studio = studio
        self.results = results
        self.photo = gr.State(None, time_to_live=KEPT_SECONDS)
        self.reference = gr.State(None, time_to_live=KEPT_SECONDS)
        with gr.Row():
            with gr.Column():
                self.file = gr.File(label="Photo", elem_id="photo", height=DROP_HEIGHT)
                self.quality = _quality()
                self.fidelity = _fidelity(studio.inverter.options.fidelity)
                self.strengths = _strengths([direction.name for direction in studio.directions])
                with gr.Accordion("Copy the degradation of another photo", open=False, elem_id="copy"):
                    self.other = gr.File(label="Another photo", elem_id="reference", height=DROP_HEIGHT)
                    self.share = _share()
            with gr.Column():
                self.view = gr.ImageSlider(
                    label="Photo and result",
                    elem_id="view",
                    format="png",
                    interactive=False,
                    buttons=["fullscreen"],
                )
                self.download = gr.DownloadButton("Download the result (PNG)", interactive=False, elem_id="download")
                self.notes = gr.Markdown(elem_id="notes", min_height=NOTES_HEIGHT)
        self._connect()

    def _connect(self) -> None:
        """Say what happens when."""
        sliders = [self.quality, self.fidelity, self.share, *self.strengths]
        start = [slider.value for slider in sliders]
        shown, looks = [self.view, self.download], [self.photo, self.reference, *sliders]
        unseen = with_the_model("hidden")

        def forget() -> tuple:
            return None, None, offered(None), "", *start

        empty = [self.photo, *shown, self.notes, *sliders]
        forgotten = self.file.upload(forget, None, empty, **at_once())
        opened = forgotten.then(self.open, self.file, [self.photo, *shown], **_busy(self.view))
        completed = opened.success(self.complete, self.photo, [self.photo, self.notes], **_busy(self.notes))
        completed.success(self.show, looks, shown, **unseen)
        self.file.clear(forget, None, empty, **at_once())

        copied = self.other.upload(self.open_reference, self.other, self.reference, **_busy(self.view))
        copied = copied.success(lambda: (1.0, 1.0), None, [self.quality, self.share], **at_once())
        copied.then(self.show, looks, shown, **unseen)
        self.other.clear(lambda: None, None, self.reference, **at_once()).then(self.show, looks, shown, **unseen)

        moved = [slider.input for slider in sliders]
        gr.on(moved, self.show, looks, shown, trigger_mode="always_last", **unseen)

    def open(
        self,
        path: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - Gradio looks for this default
    ) -> tuple:
        """Return what was found first for a photo, and how it looks restored."""
        with told_errors():
            photo = self.studio.open(Path(path), on_step_of(progress))
            return photo, *self._shown(photo, Look(self.studio.inverter.options.fidelity))

    def complete(
        self,
        photo: OpenPhoto | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[OpenPhoto | None, str]:
        """Return all that was found for a photo, and the notes on it; nothing where it was removed meanwhile."""
        if photo is None:
            return None, ""
        with told_errors():
            photo = self.studio.complete(photo, on_step_of(progress))
            return photo, as_list(photo.notes or ())

    def open_reference(
        self,
        path: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> OpenPhoto:
        """Return what was found for a photo whose degradation is to be copied, that of its largest face."""
        with told_errors():
            on_step = on_step_of(progress)
            return self.studio.complete(self.studio.open(Path(path), on_step), on_step)

    def show(self, photo: OpenPhoto | None, reference: OpenPhoto | None, *values: float) -> Shown:
        """Return how a photo looks with the sliders at `values`."""
        if photo is None:
            return None, offered(None)
        with told_errors():
            return self._shown(photo, look_of(reference, *values))

    def _shown(self, photo: OpenPhoto, look: Look) -> Shown:
        image = self.studio.picture(photo, look)
        return (photo.image, image), offered(self.results.write_picture(photo, look, image))


def _busy(component: gr.Markdown | gr.ImageSlider) -> dict[str, Any]:
    """Return the arguments of events that show their progress on a component.

    A photo that is dropped while another one is worked on has its turn after that.
    """
    return {**with_the_model("full"), "show_progress_on": component, "trigger_mode": "always_last"}


def look_of(reference: OpenPhoto | None, quality: float, fidelity: float, share: float, *strengths: float) -> Look:
    """Return the look that sliders ask for; raise UserError for values that none has."""
    return Look(fidelity, quality, strengths, None if reference is None else reference.latents[:1], share)


def as_list(notes: Sequence[str]) -> str:
    """Return notes as a list in Markdown, in which nothing of them is markup."""
    return "\n".join(f"- {html.escape(note)}" for note in notes)


def _quality() -> gr.Slider:
    info = "How much of it is kept; 0: restored, 1: the photo's own"
    return gr.Slider(0, 1.5, 0, step=0.05, label="Degradation", info=info, elem_id="quality")


def _fidelity(default: float) -> gr.Slider:
    info = "How much is kept of the photo; 0: the network's image, 1: the photo itself"
    return gr.Slider(0, 1, default, step=0.05, label="Fidelity", info=info, elem_id="fidelity")


def _share() -> gr.Slider:
    info = "0: this photo's own degradation, 1: the other's"
    return gr.Slider(0, 1, 1, step=0.05, label="Share", info=info, elem_id="share")


def _strengths(names: Sequence[str]) -> list[gr.Slider]:
    """Return a slider for each direction."""
    if not names:
        return []
    with gr.Accordion("Edit", open=False, elem_id="edit"):
        return [
            gr.Slider(-MOST_STRENGTH, MOST_STRENGTH, 0.0, step=0.1, label=name, elem_id=f"direction-{number}")
            for number, name in enumerate(names)
        ]
