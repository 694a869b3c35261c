"""Weights & Biases, as its own environment variables say: WANDB_MODE=offline writes to the run's directory alone."""

import importlib.util
import secrets
from collections.abc import Mapping
from pathlib import Path

from dnnlib.errors import UserError, one_line
from torch_utils.histograms import Histogram
from training.sink import PROJECT, Start, missing


class Wandb:
    """Logs to a run of wandb, called like the directory; a continued run goes on in it."""

    def __init__(self, start: Start) -> None:
        require()
        import wandb

        self.wandb = wandb
        identity = start.remembered("wandb", lambda: secrets.token_hex(4))
        try:
            self.run = wandb.init(
                dir=str(start.folder),
                project=PROJECT,
                name=start.folder.resolve().name,
                id=identity,
                resume="allow",
                config=dict(start.config),
            )
        except Exception as error:
            raise UserError(
                f"wandb does not begin a run ({one_line(error)}); run `wandb login`, or set WANDB_MODE=offline"
            ) from error

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        self.run.log(dict(values), step=step)

    def image(self, name: str, path: Path, step: int) -> None:
        self.run.log({name: self.wandb.Image(str(path))}, step=step)

    def histogram(self, name: str, histogram: Histogram, step: int) -> None:
        self.run.log({name: self.wandb.Histogram(np_histogram=(histogram.counts, histogram.edges))}, step=step)

    def flush(self) -> None:
        pass  # wandb has a process that sends what is there

    def close(self) -> None:
        self.run.finish()


def require() -> None:
    """Raise UserError where wandb is not installed."""
    if importlib.util.find_spec("wandb") is None:
        raise missing("wandb")


def open_sink(start: Start) -> Wandb:
    """Return a run of wandb; raise UserError where wandb is missing, or begins none."""
    return Wandb(start)
