"""MLflow: the server that MLFLOW_TRACKING_URI names, else files in `mlruns` of the run's directory."""

import importlib.util
import os
import re
from collections.abc import Mapping
from pathlib import Path

from dnnlib.errors import UserError, one_line
from torch_utils.histograms import Histogram
from training.sink import PROJECT, Start, missing

ADDRESS = "MLFLOW_TRACKING_URI"
FILES = "MLFLOW_ALLOW_FILE_STORE"  # without it MLflow 3 wants a database where there is no server


class Mlflow:
    """Logs to a run of MLflow, called like the directory; a continued run goes on in it."""

    def __init__(self, start: Start) -> None:
        require()
        address = os.environ.get(ADDRESS)
        if address is None:
            address = (start.folder.resolve() / "mlruns").as_uri()
            os.environ.setdefault(FILES, "true")
        from mlflow.tracking import MlflowClient

        try:
            self.client = MlflowClient(address)
            self.run = start.remembered("mlflow", lambda: self._begin(start.folder.resolve().name))
            self.client.log_dict(self.run, dict(start.config), "config.json")
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"mlflow does not begin a run at {address} ({one_line(error)}); set {ADDRESS} to a server, or unset it"
            ) from error

    def _begin(self, name: str) -> str:
        experiment = self.client.get_experiment_by_name(PROJECT)
        number = self.client.create_experiment(PROJECT) if experiment is None else experiment.experiment_id
        return str(self.client.create_run(number, run_name=name).info.run_id)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.client.log_metric(self.run, _plain(name), value, step=step)

    def image(self, name: str, path: Path, step: int) -> None:
        self.client.log_artifact(self.run, str(path), "images")

    def histogram(self, name: str, histogram: Histogram, step: int) -> None:
        content = {"edges": histogram.edges.tolist(), "counts": histogram.counts.tolist()}
        self.client.log_dict(self.run, content, f"histograms/{_plain(name)}/{step:09d}.json")

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.client.set_terminated(self.run)


def require() -> None:
    """Raise UserError where MLflow is not installed."""
    if importlib.util.find_spec("mlflow") is None:
        raise missing("mlflow")


def open_sink(start: Start) -> Mlflow:
    """Return a run of MLflow; raise UserError where MLflow is missing, or begins none."""
    return Mlflow(start)


def _plain(name: str) -> str:
    """Return a name with the letters alone that MLflow takes."""
    return re.sub(r"[^\w./ -]", "_", name)
