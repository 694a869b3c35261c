"""Features of images: in the order of the images whoever extracts them, and a cache that is never wrong."""

import json
import logging
import shutil
import zipfile

import numpy as np
import pytest
import torch

from dnnlib.errors import UserError
from images.datasets.dataset import ImageDataset
from images.files import ImageFiles
from metrics.feature_cache import FeatureCache, cached_rows
from metrics.features import extract, read_rows
from metrics.image_stream import ImageStream
from tests.support.processes import run_distributed
from tests.support.runs import ALONE, png, write_images

SIZES = [(10, 3), (1, 4), (4, 2), (7, 7), (5, 8), (6, 2), (7, 3)]  # (images, batch): also fewer batches than processes
KEY = {"images": "some", "look": "sums"}


def image(index):
    return torch.from_numpy(np.random.default_rng(index).integers(0, 256, (3, 4, 4), np.uint8))


def stream_of(count, batch, seen=None):
    """Return a stream of numbered images; how many images each batch has is appended to `seen`."""

    def batches(first, step):
        for start in range(first * batch, count, step * batch):
            images = torch.stack([image(index) for index in range(start, min(start + batch, count))])
            if seen is not None:
                seen.append(len(images))
            yield images

    return ImageStream("numbers", count, batch, batches, lambda: {"count": count})


def sums(images):
    return images.float().sum((2, 3))  # integers, hence exact


def roots(images):
    return images.float().flatten(1).sqrt() / 7


LOOKS = {"sums": sums, "roots": roots}


def rows_one_by_one(count, look=sums):
    return np.concatenate([look(image(index)[None]).numpy() for index in range(count)])


# Extraction.


def extract_everything(world, folder):
    """Extract streams of all sizes, and gather rows that tell where they come from."""
    for count, batch in SIZES:
        paths = {name: folder / f"{world.size}-{count}-{batch}-{name}.npy" for name in LOOKS}
        extract(world, stream_of(count, batch), LOOKS, paths)
    rows = torch.tensor([[world.rank, 0.5], [world.rank, 1.5]])
    np.save(folder / f"gathered-{world.size}-{world.rank}.npy", world.gather(rows.T.contiguous().T).numpy())


@pytest.fixture(scope="module", params=[1, 2, 3])
def extracted(request, tmp_path_factory):
    """Return what so many processes have written, and their number."""
    folder = tmp_path_factory.mktemp("extracted")
    run_distributed(extract_everything, request.param, folder)
    return folder, request.param


@pytest.mark.parametrize("count, batch", SIZES)
def test_rows_are_those_of_single_images_in_their_order_for_any_number_of_processes(extracted, count, batch):
    folder, processes = extracted
    for name, look in LOOKS.items():
        rows = read_rows(folder / f"{processes}-{count}-{batch}-{name}.npy")
        assert rows.dtype == np.float32
        np.testing.assert_array_equal(rows, rows_one_by_one(count, look))


def test_all_processes_gather_rows_by_rank(extracted):
    folder, processes = extracted
    expected = [[rank, part] for rank in range(processes) for part in (0.5, 1.5)]
    for rank in range(processes):
        np.testing.assert_array_equal(np.load(folder / f"gathered-{processes}-{rank}.npy"), expected)


def test_every_image_is_made_once(tmp_path):
    seen = []
    extract(ALONE, stream_of(10, 4, seen), LOOKS, {name: tmp_path / f"{name}.npy" for name in LOOKS})
    assert seen == [4, 4, 2]


def test_a_stream_that_goes_on_is_cut_at_its_count(tmp_path):
    """As where a metric asks for fewer images than a folder has."""
    longer = stream_of(12, 4)
    stream = ImageStream("numbers", 6, 4, longer.batches, longer.identity)
    extract(ALONE, stream, {"sums": sums}, {"sums": tmp_path / "rows.npy"})
    np.testing.assert_array_equal(read_rows(tmp_path / "rows.npy"), rows_one_by_one(6))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused(tmp_path, value):
    with pytest.raises(UserError, match="what broken says of numbers are not all finite numbers.*replace"):
        extract(ALONE, stream_of(3, 2), {"broken": lambda images: sums(images) * value}, {"broken": tmp_path / "x.npy"})


# The cache.


class Counting:
    """A look that counts the images that it has seen, and fails after so many."""

    def __init__(self, fails_after=1000):
        self.seen, self.fails_after = 0, fails_after

    def __call__(self, images):
        self.seen += len(images)
        if self.seen > self.fails_after:
            raise UserError("an image cannot be read")
        return sums(images)


def rows_of(folder, key=KEY, look=sums):
    return cached_rows(ALONE, FeatureCache(folder), stream_of(5, 2), {"sums": look}, {"sums": key})["sums"]


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_hit_gives_the_same_rows_without_a_look(tmp_path, caplog):
    look, seen = Counting(), []
    first = rows_of(tmp_path / "new" / "cache", look=look)
    again = cached_rows(
        ALONE, FeatureCache(tmp_path / "new" / "cache"), stream_of(5, 2, seen), {"sums": look}, {"sums": dict(KEY)}
    )
    np.testing.assert_array_equal(first, rows_one_by_one(5))
    np.testing.assert_array_equal(again["sums"], first)
    assert look.seen == 5 and not seen and not warnings_of(caplog)


@pytest.mark.parametrize("changed", [{**KEY, "images": "others"}, {**KEY, "seed": 0}, {"images": "some"}])
def test_another_key_is_another_entry(tmp_path, changed):
    first, other = Counting(), Counting()
    rows_of(tmp_path, look=first)
    rows_of(tmp_path, changed, other)
    assert other.seen == 5
    rows_of(tmp_path, look=first)
    rows_of(tmp_path, changed, other)
    assert (first.seen, other.seen) == (5, 5)


def test_only_what_is_missing_is_looked_at(tmp_path):
    rows_of(tmp_path)
    known, new = Counting(), Counting()
    looks, keys = {"sums": known, "more": new}, {"sums": KEY, "more": {**KEY, "look": "more"}}
    rows = cached_rows(ALONE, FeatureCache(tmp_path), stream_of(5, 2), looks, keys)
    assert (known.seen, new.seen) == (0, 5) and list(rows) == ["sums", "more"]


def truncate(path):
    path.write_bytes(path.read_bytes()[:-4])


def flip(path):
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "truncated rows": lambda rows, record: truncate(rows),
    "changed rows": lambda rows, record: flip(rows),
    "no rows": lambda rows, record: rows.unlink(),
    "truncated record": lambda rows, record: truncate(record),
    "empty record": lambda rows, record: record.write_text(""),
    "no text": lambda rows, record: record.write_bytes(b"\xff\xfe\x80"),
    "a record of something else": lambda rows, record: record.write_text("[1]"),
    "a record without a hash": lambda rows, record: record.write_text("{}"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_entry_is_made_anew_with_one_warning(tmp_path, caplog, damage):
    rows_of(tmp_path)
    [rows], [record] = tmp_path.glob("*.npy"), tmp_path.glob("*.json")
    damage(rows, record)
    look = Counting()
    np.testing.assert_array_equal(rows_of(tmp_path, look=look), rows_one_by_one(5))
    [warning] = warnings_of(caplog)
    assert "damaged" in warning and str(rows) in warning
    rows_of(tmp_path, look=look)
    assert look.seen == 5 and sorted(tmp_path.iterdir()) == sorted([rows, record])


def test_rows_without_a_record_are_never_used(tmp_path):
    """As a crash between the two leaves them."""
    rows_of(tmp_path)
    [rows], [record] = tmp_path.glob("*.npy"), tmp_path.glob("*.json")
    record.unlink()
    flip(rows)
    look = Counting()
    np.testing.assert_array_equal(rows_of(tmp_path, look=look), rows_one_by_one(5))
    assert look.seen == 5 and record.exists()


def test_what_a_crash_leaves_does_no_harm(tmp_path):
    name = FeatureCache(tmp_path)._path(KEY).name
    for leftover in (f".{name}.abc.part", f".{name.removesuffix('.npy')}.json.abc.part"):
        (tmp_path / leftover).write_bytes(b"half")
    np.testing.assert_array_equal(rows_of(tmp_path), rows_one_by_one(5))


def test_a_failure_leaves_nothing_behind(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        rows_of(tmp_path, look=Counting(fails_after=3))
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_an_older_entry_alone(tmp_path):
    rows_of(tmp_path)
    with pytest.raises(UserError, match="cannot be read"):
        rows_of(tmp_path, {**KEY, "seed": 1}, Counting(fails_after=3))
    assert len(list(tmp_path.iterdir())) == 2
    rows_of(tmp_path, look=Counting(fails_after=0))


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("no folder")
    look = Counting()
    with pytest.raises(UserError, match=r"the cache .*file/cache cannot be written \(.*\); choose another --cache-dir"):
        rows_of(tmp_path / "file" / "cache", look=look)
    assert look.seen == 0


def test_the_record_tells_what_the_rows_are_of(tmp_path):
    rows_of(tmp_path)
    [record] = tmp_path.glob("*.json")
    assert json.loads(record.read_text())["key"] == KEY


# Fingerprints of images.


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "images"
    (path / "00").mkdir(parents=True)
    for index in range(3):
        (path / "00" / f"img{index}.png").write_bytes(png(index))
    return path


def zipped(folder, path, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, file.relative_to(folder))
    return path


CHANGES = {
    "changed": lambda folder: (folder / "00" / "img1.png").write_bytes(png(9)),
    "added": lambda folder: (folder / "img3.png").write_bytes(png(3)),
    "removed": lambda folder: (folder / "00" / "img1.png").unlink(),
    "renamed": lambda folder: (folder / "00" / "img1.png").rename(folder / "00" / "img7.png"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_fingerprint_changes_with_any_image(folder, tmp_path, change):
    before = ImageFiles(folder).fingerprint(), ImageFiles(zipped(folder, tmp_path / "a.zip")).fingerprint()
    change(folder)
    after = ImageFiles(folder).fingerprint(), ImageFiles(zipped(folder, tmp_path / "b.zip")).fingerprint()
    assert before[0] != after[0] and before[1] != after[1]


def test_a_copy_has_the_same_fingerprint(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "notes.txt").write_text("no image")
    assert ImageFiles(folder).fingerprint() == ImageFiles(tmp_path / "copy").fingerprint()
    packed = zipped(folder, tmp_path / "a.zip"), zipped(folder, tmp_path / "b.zip", zipfile.ZIP_DEFLATED)
    assert ImageFiles(packed[0]).fingerprint() == ImageFiles(packed[1]).fingerprint()


def test_swapped_images_are_others(folder):
    before = ImageFiles(folder).fingerprint()
    first, second = (folder / "00" / f"img{index}.png" for index in range(2))
    contents = first.read_bytes(), second.read_bytes()
    first.write_bytes(contents[1])
    second.write_bytes(contents[0])
    assert ImageFiles(folder).fingerprint() != before


def test_a_choice_of_images_has_a_fingerprint_of_its_own(tmp_path):
    path = write_images(tmp_path / "images.zip")
    choices = [{}, {"subset": 6}, {"subset": 7}, {"subset": 6, "seed": 1}]
    assert len({ImageDataset(path, **choice).fingerprint for choice in choices}) == len(choices)
    assert ImageDataset(path, mirror=True).fingerprint == ImageDataset(path).fingerprint  # mirrored ones are not seen
