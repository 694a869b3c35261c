"""TensorBoard's events, in the directory of the run."""

from collections.abc import Mapping
from pathlib import Path

from images.photos import read_photo
from torch_utils.histograms import Histogram
from training.sink import Start


class TensorBoard:
    """Writes events; those after the beginning, of a run that was interrupted, are dropped."""

    def __init__(self, start: Start) -> None:
        from torch.utils.tensorboard import SummaryWriter  # here, since every command would wait for its import

        self.writer = SummaryWriter(str(start.folder), purge_step=start.images_seen + 1 if start.images_seen else None)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def image(self, name: str, path: Path, step: int) -> None:
        self.writer.add_image(name, read_photo(path), step, dataformats="HWC")

    def histogram(self, name: str, histogram: Histogram, step: int) -> None:
        middles = (histogram.edges[1:] + histogram.edges[:-1]) / 2
        self.writer.add_histogram_raw(
            name,
            min=float(histogram.edges[0]),
            max=float(histogram.edges[-1]),
            num=int(histogram.counts.sum()),
            sum=float(histogram.counts @ middles),
            sum_squares=float(histogram.counts @ middles**2),
            bucket_limits=histogram.edges[1:].tolist(),
            bucket_counts=histogram.counts.tolist(),
            global_step=step,
        )

    def flush(self) -> None:
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


def open_sink(start: Start) -> TensorBoard:
    """Return the writer of a run's events."""
    return TensorBoard(start)
