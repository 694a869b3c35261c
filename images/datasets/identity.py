"""Identity of a data set: what a run must find again when it is continued, wherever the files lie by then."""

import dataclasses
import hashlib
import zipfile
from dataclasses import dataclass
from typing import Any

from dnnlib.errors import UserError
from images.datasets.dataset import ImageDataset


@dataclass(frozen=True)
class DataIdentity:
    """What training sees of a data set.

    Attributes:
        images: number of files.
        resolution: side of the images.
        channels: channels of the images.
        label_dim: width of a label.
        content: digest of the files' content, in their order.
        labels: digest of the labels; "" where they are not used.
    """

    images: int
    resolution: int
    channels: int
    label_dim: int
    content: str
    labels: str

    @property
    def format(self) -> tuple[int, int, int]:
        """What networks are built for."""
        return self.resolution, self.channels, self.label_dim

    def to_state(self) -> dict[str, Any]:
        """Return what is stored in a training state."""
        return dataclasses.asdict(self)

    @classmethod
    def from_state(cls, stored: Any) -> "DataIdentity | None":
        """Return the identity in a training state; None for a state of a program that did not store it."""
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(stored, dict) or sorted(stored) != sorted(names):
            return None
        return cls(**stored)

    def changes(self, after: "DataIdentity") -> list[str]:
        """Return `name: old -> new` for what another data set has different; digests have only `name`."""
        old, new = self.to_state(), after.to_state()
        numbers = [name for name in ("images", "resolution", "channels", "label_dim") if old[name] != new[name]]
        changes = [f"{name}: {old[name]} -> {new[name]}" for name in numbers]
        changes += ["content of the images"] if self.content != after.content else []
        return changes + (["labels"] if self.labels != after.labels else [])


def identify(dataset: ImageDataset) -> DataIdentity:
    """Return the identity of a data set.

    Of a zip, the checksums in its directory are read; of a folder, the size and both ends of each file; of a tar, the
    size of each file and a checksum of its first and last bytes.

    Raises UserError when that is impossible.
    """
    digest = hashlib.sha256()
    try:
        for name in dataset.files.names:
            digest.update(dataset.files.mark(name).encode() + b"\n")
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise UserError(f"{dataset.files.path} cannot be read: {error}; check the data") from error
    return DataIdentity(
        images=len(dataset.files),
        resolution=dataset.resolution,
        channels=dataset.channels,
        label_dim=dataset.label_dim,
        content=digest.hexdigest(),
        labels=dataset.label_digest(),
    )
