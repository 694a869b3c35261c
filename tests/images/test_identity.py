"""Identity of a data set: it changes with what training sees, and with nothing else."""

import json
import os
import shutil
import zipfile

import pytest

from images.datasets.dataset import ImageDataset
from images.datasets.identity import DataIdentity, identify
from tests.support.runs import png

LABELS = {"labels": [[f"{index}.png", index % 2] for index in range(6)]}


def write(folder, images=range(6), labels=None, names="{}.png"):
    folder.mkdir()
    for index, seed in enumerate(images):
        (folder / names.format(index)).write_bytes(png(seed))
    if labels is not None:
        (folder / "dataset.json").write_text(json.dumps(labels))
    return folder


def pack(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    return path


def identity(path, **options):
    return identify(ImageDataset(path, **options))


def test_names_and_times_do_not_matter(tmp_path):
    first = write(tmp_path / "a")
    copy = shutil.copytree(first, tmp_path / "b")
    for path in copy.iterdir():
        os.utime(path, (1, 1))
    renamed = write(tmp_path / "c", names="img-{}.png")
    assert identity(first) == identity(copy) == identity(renamed)
    zips = [pack(folder, tmp_path / f"{folder.name}.zip") for folder in (first, renamed)]
    assert identity(zips[0]) == identity(zips[1])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (range(1, 7), LABELS, ["content of the images"]),
        ([1, 0, *range(2, 6)], LABELS, ["content of the images"]),
        (range(5), LABELS, ["images: 6 -> 5", "content of the images", "labels"]),
        (range(6), {"labels": [[f"{i}.png", i % 3] for i in range(6)]}, ["label_dim: 2 -> 3", "labels"]),
        (range(6), {"labels": [[f"{i}.png", 1 - i % 2] for i in range(6)]}, ["labels"]),
    ],
)
def test_changes_are_named(tmp_path, images, labels, said, packed):
    before, after = write(tmp_path / "a", labels=LABELS), write(tmp_path / "b", images, labels)
    if packed:
        before, after = pack(before, tmp_path / "a.zip"), pack(after, tmp_path / "b.zip")
    old = identity(before, use_labels=True)
    assert old.changes(identity(after, use_labels=True)) == said
    assert old.changes(old) == []


def test_labels_that_are_not_used_do_not_matter(tmp_path):
    plain, labelled = write(tmp_path / "a"), write(tmp_path / "b", labels=LABELS)
    assert identity(plain) == identity(labelled)
    assert identity(labelled).changes(identity(labelled, use_labels=True)) == ["label_dim: 0 -> 2", "labels"]


@pytest.mark.parametrize("place", [10, 20_000, 199_990])
def test_both_ends_of_a_large_file_count(tmp_path, place):
    """Those between would take as long as an epoch: a file that is changed there alone is damaged, not replaced."""
    folder = write(tmp_path / "a")
    before = identity(folder)
    (folder / "0.png").write_bytes(png(0) + bytes(200_000))
    grown = identity(folder)
    assert before.changes(grown) == ["content of the images"]
    with open(folder / "0.png", "r+b") as file:
        file.seek(place + len(png(0)))
        file.write(b"x")
    assert (grown != identity(folder)) == (place != 20_000)


def test_it_goes_through_a_state(tmp_path):
    found = identity(write(tmp_path / "a", labels=LABELS), use_labels=True)
    assert DataIdentity.from_state(found.to_state()) == found
    for stored in (None, {}, found.to_state() | {"more": 1}, [1], {"images": 6}):
        assert DataIdentity.from_state(stored) is None
