"""The page: its tabs, its looks, and how many requests may wait."""

import html

import gradio as gr

from web.photo_tab import KEPT_SECONDS, PhotoTab
from web.results import Results
from web.seeds_tab import SeedsTab
from web.studio import Studio

WAITING = 32  # requests that may wait for the model; more are refused
SWEEP_SECONDS = 300  # between two looks for files that are older than KEPT_SECONDS
FONTS = ("system-ui", "sans-serif")
FONTS_MONO = ("ui-monospace", "monospace")
CSS = """
footer { display: none !important; }
#view img { width: 100%; }
#notes { overflow: hidden; }
"""


def build_page(studio: Studio, results: Results) -> gr.Blocks:
    """Return the page about a network."""
    size = studio.G.img_resolution
    licence = studio.header.get("licence")
    about = f"This network knows {studio.subject}, at {size}x{size} pixels" + (
        f". Licence: {licence}" if licence else ""
    )
    with gr.Blocks(
        title="QC-StyleGAN", analytics_enabled=False, delete_cache=(SWEEP_SECONDS, int(KEPT_SECONDS))
    ) as page:
        gr.Markdown("# QC-StyleGAN")
        with gr.Tab("Restore a photo", id="photo-tab"):
            PhotoTab(studio, results)
        with gr.Tab("Images from seeds", id="seeds-tab"):
            SeedsTab(studio, results)
        gr.Markdown(html.escape(about), elem_id="about")
    return page.queue(max_size=WAITING, default_concurrency_limit=1)


def theme() -> gr.Theme:
    """Return a theme of fonts that the visitor's machine has."""
    return gr.themes.Default(font=FONTS, font_mono=FONTS_MONO)
