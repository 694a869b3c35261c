"""Where a run is logged besides its own files: TensorBoard always, and the services that --log names."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from dnnlib.errors import UserError, one_line
from dnnlib.files import write_text
from dnnlib.registry import Registry
from torch_utils.histograms import Histogram

logger = logging.getLogger(__name__)

SINKS = Registry("training.sinks", "logger")
ALWAYS = "tensorboard"
PROJECT = "qc-stylegan"


class Sink(Protocol):
    """Takes what a run reports; `step` is the number of images seen."""

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Take numbers by name."""

    def image(self, name: str, path: Path, step: int) -> None:
        """Take a PNG file."""

    def histogram(self, name: str, histogram: Histogram, step: int) -> None:
        """Take a histogram."""

    def flush(self) -> None:
        """Let others see what was taken so far."""

    def close(self) -> None:
        """Take note that the run ends, or is stopped."""


@dataclass(frozen=True)
class Start:
    """What a sink is opened for.

    Attributes:
        folder: directory of the run.
        config: configuration of the run, as JSON values.
        images_seen: images after which the run begins, or is continued.
    """

    folder: Path
    config: Mapping[str, Any] = field(default_factory=dict)
    images_seen: int = 0

    def remembered(self, name: str, make: Callable[[], str]) -> str:
        """Return what a service calls this run: what `make` gives for a new run, and the same when it is continued."""
        path = self.folder / f"{name}-run.txt"
        if self.images_seen and path.is_file():
            return path.read_text(encoding="utf-8").strip()
        identity = make()
        write_text(path, f"{identity}\n")
        return identity


class Sinks:
    """All sinks of a run. One that fails while the run is under way is left out from there on, with a warning."""

    def __init__(self, names: Iterable[str], start: Start) -> None:
        self.open: dict[str, Sink] = {name: SINKS.get(name).open_sink(start) for name in names}

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Hand on numbers by name."""
        self._each(lambda sink: sink.scalars(values, step))

    def image(self, name: str, path: Path, step: int) -> None:
        """Hand on a PNG file."""
        self._each(lambda sink: sink.image(name, path, step))

    def histogram(self, name: str, histogram: Histogram, step: int) -> None:
        """Hand on a histogram."""
        self._each(lambda sink: sink.histogram(name, histogram, step))

    def flush(self) -> None:
        """Let others see what was handed on so far."""
        self._each(lambda sink: sink.flush())

    def close(self) -> None:
        """Take note that the run ends, or is stopped."""
        self._each(lambda sink: sink.close())

    def _each(self, hand_on: Callable[[Sink], None]) -> None:
        for name, sink in list(self.open.items()):
            try:
                hand_on(sink)
            except Exception as error:
                if name == ALWAYS:
                    raise
                logger.warning("%s takes nothing more (%s); the run goes on without it", name, one_line(error))
                del self.open[name]


def names_of(text: str) -> list[str]:
    """Return the names of sinks in the value of --log; raise UserError for an unknown one."""
    names = [name for name in dict.fromkeys(part.strip() for part in text.split(",")) if name not in ("", ALWAYS)]
    for name in names:
        SINKS.get(name)
    return names


def require_packages(text: str) -> None:
    """Raise UserError, which names the extra, where a package of the sinks in the value of --log is not installed."""
    for name in names_of(text):
        SINKS.get(name).require()


def missing(name: str) -> UserError:
    """Return the error for a sink whose package is not installed."""
    return UserError(
        f"--log={name} needs the package {name}, which is not installed", f"pip install 'qc-stylegan[{name}]'"
    )
