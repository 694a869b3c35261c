"""What the events of all tabs share: their turn at the model, the bar of progress, and errors as sentences."""

import contextlib
import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from dnnlib.errors import UserError
from inversion.inverter import OnStep

MODEL = "model"  # events with this key wait for each other, whoever has caused them


def with_the_model(progress: Literal["full", "hidden"]) -> dict[str, Any]:
    """Return the arguments of events that need the network: one is worked on at a time, over all users."""
    return {"concurrency_id": MODEL, "concurrency_limit": 1, "show_progress": progress, "api_visibility": "private"}


def at_once() -> dict[str, Any]:
    """Return the arguments of events that wait for nobody."""
    return {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def on_step_of(progress: gr.Progress) -> OnStep:
    """Return a function that shows the steps of a stage on the page."""

    def on_step(stage: str, done: int, total: int) -> None:
        progress((done, total), desc=stage)

    return on_step


@contextlib.contextmanager
def told_errors() -> Iterator[None]:
    """Show a UserError, and too little memory, on the page; of anything else the page says that there was an error."""
    try:
        yield
    except (UserError, MemoryError) as error:
        raise gr.Error(sentence_of(error), print_exception=False) from error


def sentence_of(error: UserError | MemoryError) -> str:
    """Return an error as text for the page, in which nothing that a file is called is markup."""
    if isinstance(error, MemoryError):
        return "this machine has too little memory for that; send a smaller photo"
    return html.escape(str(error))


def offered(path: Path | None) -> dict[str, Any]:
    """Return what lets a button hand out a file; None: it cannot be pressed."""
    return gr.update(value=None if path is None else str(path), interactive=path is not None)
