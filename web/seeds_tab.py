"""The tab for images from seeds: sharp and degraded beside each other."""

import gradio as gr

from web.events import offered, on_step_of, told_errors, with_the_model
from web.results import Results
from web.samples import MOST_IMAGES, MOST_SCALE, Wish, parse_quality, parse_seeds
from web.studio import Studio


class SeedsTab:
    """The tab's components and what happens in it.

    Args:
        studio: the network.
        results: folder that results are written to.
    """

    def __init__(self, studio: Studio, results: Results) -> None:
        self.studio = studio
        self.results = results
        with gr.Row():
            seeds = gr.Textbox("0-3", label="Seeds", info=f"Such as 0-3,12; at most {MOST_IMAGES}", elem_id="seeds")
            info = f"random (another for each seed), seed:5, or {studio.G.q_dim} numbers"
            code = gr.Textbox("random", label="Quality code", info=info, elem_id="code")
        with gr.Row():
            info = "Factor of the quality code; 0: sharp"
            scale = gr.Slider(0, MOST_SCALE, 1, step=0.05, label="Degradation", info=info, elem_id="scale")
            info = "Lower: nearer to the mean, less varied"
            truncation = gr.Slider(0, 1, 0.7, step=0.05, label="Truncation", info=info, elem_id="truncation")
        make = gr.Button("Make images", variant="primary", elem_id="make")
        gallery = gr.Gallery(
            label="Sharp and degraded",
            columns=4,
            object_fit="contain",
            height="auto",
            format="png",
            interactive=False,
            buttons=["download", "fullscreen"],
            elem_id="gallery",
        )
        download = gr.DownloadButton("Download all (PNG)", interactive=False, elem_id="download-all")
        inputs = [seeds, code, scale, truncation]
        busy = {**with_the_model("full"), "show_progress_on": gallery}
        gr.on([make.click, seeds.submit, code.submit], self.show, inputs, [gallery, download], **busy)

    def show(
        self,
        seeds: str,
        code: str,
        scale: float,
        truncation: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - Gradio looks for this default
    ) -> tuple:
        """Return images with captions, and the button that hands out a figure of them."""
        with told_errors():
            numbers = parse_seeds(seeds)
            wish = Wish(numbers, parse_quality(code, numbers, self.studio.G.q_dim, scale), truncation)
            samples = self.studio.samples(wish, on_step_of(progress))
        pairs = [
            pair
            for sample in samples
            for pair in ((sample.sharp, f"seed {sample.seed}"), (sample.degraded, f"seed {sample.seed}, degraded"))
        ]
        return pairs, offered(self.results.write_samples(samples))
