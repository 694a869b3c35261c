"""Writer of data sets: converted images, their labels and their origin, as archives or a folder."""

import itertools
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from dnnlib.errors import UserError, counted
from images.datasets.conversion import FORMATS, Conversion, Converted, common_mode, convert, convert_in_workers
from images.datasets.destination import open_destination
from images.datasets.labels import Label
from images.datasets.sources import Source
from images.listing import METADATA

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """How a data set is made.

    Attributes:
        how: how each image is converted.
        max_images: number of images to convert; None converts all.
        workers: processes that convert images; 0 does it in this one.
    """

    how: Conversion
    max_images: int | None
    workers: int = 0


def write_dataset(source: Source, dest: str | os.PathLike, options: Options) -> dict[str, Any]:
    """Write all images of `source` to `dest`, and return the record of their origin.

    `dest` is a new `.zip`, `.tar`, or folder, or a range of shards `cats-{000..015}.tar`, which get the images in turn.
    It appears when everything is written. The same source and options give the same bytes.
    Raises UserError for images that do not fit together and for a destination that cannot be written.
    """
    with open_destination(dest) as destination:
        conversion = DatasetConversion(source, options)
        extension = FORMATS[options.how.file_format][0]
        for index, converted in enumerate(conversion.images()):
            stored_name = f"{index // 1000:05d}/img{index:08d}.{extension}"
            destination.put(index, stored_name, converted.data)
            conversion.labels.append((stored_name, converted.name, converted.label))
        record = conversion.record()
        labels = conversion.label_list()
        for shard in range(destination.shards):
            destination.put(shard, METADATA, _metadata(labels, record, shard, destination.shards))
    return record


def _metadata(labels: list[tuple[str, Label]] | None, record: dict[str, Any], shard: int, shards: int) -> bytes:
    """Return the `dataset.json` of a shard, or of the whole data set where that is not divided."""
    if shards > 1:
        count = len(range(shard, record["num_images"], shards))
        if count == 0:
            raise UserError(
                f"{shards} shards need as many images, and there are {record['num_images']}",
                f"give {record['num_images']} or fewer",
            )
        record = {**record, "num_images": count, "shard": shard, "shards": shards}
        labels = None if labels is None else labels[shard::shards]
    return json.dumps({"labels": labels, "source": record}, separators=(",", ":")).encode()


class DatasetConversion:
    """The conversion of a source, and what is known so far of its images."""

    def __init__(self, source: Source, options: Options):
        self.source = source
        self.options = options
        self.mode = ""  # Pillow's, of all images; known from the first one on
        self.side: int | None = None
        self.labels: list[tuple[str, str, Label | None]] = []  # (stored name, name in the source, label)
        self.skipped: list[str] = []
        self.enlarged = 0

    def images(self) -> Iterator[Converted]:
        """Yield the converted images, with a progress bar."""
        with tqdm(total=self._count, unit="image", disable=None) as progress:
            for item in itertools.islice(self._readable(), self._count):
                yield item
                progress.update()

    @property
    def _count(self) -> int:
        """Number of images, if all can be read."""
        return min(self.source.count, self.options.max_images or self.source.count)

    def _readable(self) -> Iterator[Converted]:
        for item in self._converted():
            if item.problem:
                self.skipped.append(item.name)
                logger.warning("%s; it is left out", item.problem)
                continue
            self._require_uniform(item)
            yield item

    def _converted(self) -> Iterator[Converted]:
        """Yield all images in order."""
        how = self.options.how
        self.mode = common_mode(self.source, how, self._count)
        if self.options.workers > 0:
            yield from convert_in_workers(self.source, how, self.mode, self.options.workers)
            return
        for item in self.source.images():
            yield convert(item, self.source.name, how, self.mode)

    def _require_uniform(self, item: Converted) -> None:
        """Raise UserError for an image whose side is unlike that of the others, or no power of two."""
        self.enlarged += item.is_enlarged
        self.side = self.side or item.side
        if item.side != self.side or self.side < 4 or self.side & (self.side - 1):
            what = f"{item.name} of {self.source.name}"
            expected = "a power of two" if item.side == self.side else f"{self.side} like the first"
            lower = max(4, 1 << (item.side.bit_length() - 1))
            raise UserError(f"the side of {what} is {item.side} pixels, not {expected}; pass --resolution={lower}")

    def label_list(self) -> list[tuple[str, Label]] | None:
        """Return stored names with their labels; None when no image has a label."""
        unlabelled = [name for _, name, label in self.labels if label is None]
        if len(unlabelled) == len(self.labels):
            return None
        assert not unlabelled, f"{unlabelled[0]} has no label, others have"
        return [(stored_name, label) for stored_name, _, label in self.labels if label is not None]

    def record(self) -> dict[str, Any]:
        """Return the origin of the data set, as JSON values; raise UserError when it has no images."""
        if not self.labels:
            raise UserError(
                f"none of the {self.source.count} images of {self.source.name} can be read; check the source"
            )
        if self.enlarged:
            enlarged = counted(self.enlarged, "image")
            logger.warning("enlarged %s with fewer pixels than --resolution", enlarged)
        return {
            "tool": "dataset_tool",
            "format_version": 1,
            "resolution": self.side,
            "channels": 1 if self.mode == "L" else 3,
            "filter": self.options.how.shape.filter,
            "crop": self.options.how.shape.crop,
            "source": self.source.name,
            "source_sha256": self.source.sha256,
            "num_images": len(self.labels),
            "skipped": self.skipped,
        }
