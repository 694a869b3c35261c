"""Shards: one data set in several archives, read as one, in an order that keeps to few of them and goes on exactly."""

import io
import json
import pickle
import tarfile

import numpy as np
import pytest

import dataset_tool
from dnnlib.errors import UserError
from images.containers import tars
from images.containers.shards import shard_paths
from images.datasets import order
from images.datasets.batches import TrainingBatches
from images.datasets.dataset import ImageDataset
from images.datasets.identity import identify
from images.files import ImageFiles
from tests.images.test_dataset import png, random_pixels
from tests.support.processes import in_fork

COUNT = 23


def write_tar(path, files, format=tarfile.USTAR_FORMAT):
    with tarfile.open(path, "w", format=format) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The same labelled images as one zip, and as shards of both kinds."""
    path = tmp_path_factory.mktemp("shards")
    for number in range(COUNT):
        place = path / "photos" / f"kind{number % 3}" / f"{number:02d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(png(random_pixels(number)))
    for dest in ("all.zip", "all.tar", "cats-{00..04}.tar", "cats-{00..04}.zip"):
        flags = [f"--input={path / 'photos'}", f"--output={path / dest}", "--labels=folders"]
        assert dataset_tool.main(flags) == 0
    return path


def content(dataset):
    """Return the images with their labels, in an order of their own."""
    return sorted((dataset.image(i).tobytes(), dataset.label(i).tobytes()) for i in range(dataset.num_images))


@pytest.mark.parametrize("name", ["all.tar", "cats-{00..04}.tar", "cats-{00..04}.zip"])
def test_archives_of_every_kind_hold_the_same_data_set(folder, name):
    whole = ImageDataset(folder / "all.zip", use_labels=True)
    dataset = ImageDataset(folder / name, use_labels=True)
    assert (dataset.num_images, dataset.resolution, dataset.label_dim) == (COUNT, 16, 3)
    assert content(dataset) == content(whole)
    copy = pickle.loads(pickle.dumps(dataset))
    assert content(copy) == in_fork(content, dataset) == content(whole)
    assert len(ImageDataset(folder / name, subset=7, mirror=True)) == 14


def test_shards_that_are_written_again_have_the_same_bytes_with_any_number_of_workers(folder, tmp_path):
    flags = [f"--input={folder / 'cats-{00..04}.tar'}", "--workers=2", f"--output={tmp_path / 'again.zip'}"]
    assert dataset_tool.main(flags) == 0
    flags = [f"--input={folder / 'photos'}", "--workers=2", "--labels=folders"]
    assert dataset_tool.main([*flags, f"--output={tmp_path / 'cats-{00..04}.tar'}"]) == 0
    for path in folder.glob("cats-*.tar"):
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()
    assert content(ImageDataset(tmp_path / "again.zip", use_labels=True)) == content(
        ImageDataset(folder / "all.zip", use_labels=True)
    )


def numbers(batches, count):
    return [
        batch.images.numpy().tobytes() + batch.labels.numpy().tobytes()
        for batch, _ in zip(batches, range(count), strict=False)
    ]


@pytest.mark.parametrize("name", ["cats-{00..04}.tar", "cats-{00..04}.zip"])
def test_a_continued_run_sees_what_an_uninterrupted_one_would(folder, name, monkeypatch):
    monkeypatch.setattr(order, "SHARDS_AT_ONCE", 2)
    dataset = ImageDataset(folder / name, use_labels=True, mirror=True)
    whole = numbers(TrainingBatches(dataset, 4, slice(0, 4), seed=5), 15)  # more than one round
    again = ImageDataset(folder / name, use_labels=True, mirror=True)
    assert numbers(TrainingBatches(again, 4, slice(0, 4), seed=5, start=24, workers=2), 9) == whole[6:]
    halves = [TrainingBatches(dataset, 4, slice(2 * rank, 2 * rank + 2), seed=5) for rank in range(2)]
    parts = [[batch.images for batch, _ in zip(half, range(3), strict=False)] for half in halves]
    together = [np.concatenate(pair) for pair in zip(*parts, strict=True)]
    expected = [
        b.images.numpy() for b, _ in zip(TrainingBatches(dataset, 4, slice(0, 4), seed=5), range(3), strict=False)
    ]
    assert all(np.array_equal(a, b) for a, b in zip(together, expected, strict=True))


def test_a_round_has_each_image_once_and_keeps_to_few_shards(folder, monkeypatch):
    monkeypatch.setattr(order, "SHARDS_AT_ONCE", 2)
    dataset = ImageDataset(folder / "cats-{00..04}.tar", mirror=True)
    rounds = [order.round_order(dataset, 1, number) for number in range(3)]
    shards = [[int(dataset.shards[index % COUNT]) for index in indices] for indices in rounds]
    for indices, sequence in zip(rounds, shards, strict=True):
        assert sorted(indices) == list(range(2 * COUNT))
        assert len(set(sequence[:16])) == 2  # of 5 shards with 4 or 5 images and as many mirrored ones
    assert len({tuple(indices) for indices in rounds}) == 3 and len({frozenset(s[:16]) for s in shards}) > 1
    other = order.round_order(dataset, 2, 0)
    assert not np.array_equal(other, rounds[0])


def test_the_identity_of_shards_changes_with_an_image_and_not_with_their_place(folder, tmp_path):
    paths = sorted(folder.glob("cats-*.tar"))
    for path in paths:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    before = identify(ImageDataset(folder / "cats-{00..04}.tar", use_labels=True))
    there = ImageDataset(tmp_path / "cats-{00..04}.tar", use_labels=True)
    assert identify(there) == before
    name = there.files.names[3].partition("/")[2]
    data = bytearray(paths[0].read_bytes())
    place = data.index(b"IDAT", data.index(name.encode())) + 30
    data[place] ^= 1
    (tmp_path / paths[0].name).write_bytes(data)
    changed = ImageDataset(tmp_path / "cats-{00..04}.tar", use_labels=True)
    assert identify(changed).content != before.content and changed.fingerprint != there.fingerprint
    with pytest.raises(UserError, match=rf"cats-00.tar/{name} in .* cannot be read"):
        changed.image(3)


def test_labels_of_webdataset_lie_beside_the_images(tmp_path):
    """In shards whose names begin again, with other files of each sample passed over."""
    for shard in range(2):
        files = {}
        for number in range(3):
            files[f"{number:06d}.png"] = png(random_pixels(10 * shard + number))
            label = {"label": number} if shard else number
            files[f"{number:06d}.{'json' if shard else 'cls'}"] = json.dumps(label).encode()
            files[f"{number:06d}.txt"] = b"a cat"
        write_tar(tmp_path / f"w-{shard}.tar", files, tarfile.PAX_FORMAT)
    dataset = ImageDataset(tmp_path / "w-{0..1}.tar", use_labels=True)
    assert [int(dataset.label(i).argmax()) for i in range(6)] == [0, 1, 2, 0, 1, 2]
    assert np.array_equal(dataset.image(4).transpose(1, 2, 0), random_pixels(11))


def test_long_names_links_and_folders(tmp_path):
    long = "folder" * 30 + "/" + "ü" * 60 + ".png"
    for kind, format in {"gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}.items():
        path = write_tar(
            tmp_path / f"{kind}.tar", {long: png(random_pixels(1)), "b.png": png(random_pixels(2))}, format
        )
        with tarfile.open(path, "a", format=format) as archive:
            for name, type_ in {
                "link.png": tarfile.SYMTYPE,
                "pipe.png": tarfile.FIFOTYPE,
                "d": tarfile.DIRTYPE,
            }.items():
                entry = tarfile.TarInfo(name)
                entry.type, entry.linkname = type_, "/etc/passwd"
                archive.addfile(entry)
        files = ImageFiles(path)
        assert files.names == ["b.png", long]
        assert np.array_equal(files.pixels(long), random_pixels(1))


# What is refused.


def cut(files, where):
    data = files["good"].read_bytes()
    files["path"].write_bytes(data[:where])


def damage(files, place, value):
    data = bytearray(files["good"].read_bytes())
    data[place : place + len(value)] = value
    files["path"].write_bytes(data)


def sized(size):
    return f"{size:011o}\0".encode()


IMAGE = png(random_pixels(0))
BLOCKS = 512 + -(-len(IMAGE) // 512) * 512
BAD = [
    (lambda f: cut(f, BLOCKS), "is cut off after a.png"),
    (lambda f: cut(f, BLOCKS + 700), "b.png is cut off: 188 of"),
    (lambda f: cut(f, 0), "is cut off after its beginning"),
    (lambda f: damage(f, BLOCKS + 3, b"x"), "the header after a.png is damaged"),
    (lambda f: f["path"].write_bytes(b"\x1f\x8b" + bytes(600)), "it is compressed by gzip; unpack it to a plain tar"),
    (lambda f: f["path"].write_bytes(b"text" * 200), "the header after its beginning is damaged"),
    (lambda f: write_tar(f["path"], {"a.png": IMAGE, "x/../a.png": IMAGE}), "holds a.png and x/../a.png, one file"),
    (lambda f: write_tar(f["path"], {"a.jpg": IMAGE, "a.seg.png": IMAGE}), "two images of one sample; pack one image"),
    (lambda f: write_tar(f["path"], {"a.txt": b"x"}), "no images in"),
    (lambda f: write_tar(f["path"], {"n" * 70_000 + ".png": IMAGE}, tarfile.GNU_FORMAT), "at most 65,536 are read"),
]


@pytest.mark.parametrize(("make", "expected"), BAD)
def test_a_damaged_shard_is_one_sentence_that_names_it(tmp_path, make, expected):
    good = write_tar(tmp_path / "w-0.tar", {"a.png": IMAGE, "b.png": IMAGE})
    make({"good": good, "path": tmp_path / "w-1.tar"})
    with pytest.raises(UserError) as error:
        ImageFiles(tmp_path / "w-{0..1}.tar")
    assert "w-1.tar" in str(error.value) and expected in str(error.value)
    assert str(error.value).count("\n") == 0


def test_no_damage_of_a_header_goes_on_for_ever_or_reads_beyond(tmp_path):
    data = write_tar(tmp_path / "good.tar", {"a.png": IMAGE, "b.png": IMAGE}, tarfile.PAX_FORMAT).read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(data)
        start = int(rng.choice([0, BLOCKS]))
        for _ in range(int(rng.integers(1, 4))):
            changed[start + int(rng.integers(0, 512))] = int(rng.integers(0, 256))
        if rng.random() < 0.7:  # a header that is whole, and says something else
            header = changed[start : start + 512]
            header[148:156] = b" " * 8
            changed[start + 148 : start + 156] = f"{sum(header):06o}\0 ".encode()
        (tmp_path / "bad.tar").write_bytes(changed)
        try:
            with open(tmp_path / "bad.tar", "rb") as file:
                entries = list(tars.read_index(file))
        except (ValueError, UnicodeError):
            continue
        assert all(entry.start + entry.size <= len(data) for entry in entries)


NAMES = [
    ("cats-{3..1}.tar", "run backwards; write {1..3}"),
    ("cats-{0..70000}.tar", "names 70,001 shards, at most 65,536 work"),
    ("cats-{0..1}-{0..1}.tar", "has 2 ranges of shards; number them by one"),
    ("cats-{00..07}.tar", "3 of the 8 shards .* are missing, first .*cats-05.tar; write the range that is there"),
    ("photos/kind{0..1}", "is a folder; shards are archives"),
]


@pytest.mark.parametrize(("name", "expected"), NAMES)
def test_ranges_that_cannot_be(folder, name, expected):
    with pytest.raises(UserError, match=expected):
        ImageDataset(folder / name)


def test_a_shard_that_was_copied_over_another(folder, tmp_path):
    for number in range(2):
        (tmp_path / f"cats-{number}.tar").write_bytes((folder / "cats-00.tar").read_bytes())
    with pytest.raises(UserError, match=r"cats-1.tar is a copy of .*cats-0.tar; make the shards again"):
        ImageDataset(tmp_path / "cats-{0..1}.tar")


def test_some_of_the_shards_that_were_made_together_are_a_remark(folder, caplog):
    assert ImageDataset(folder / "cats-{01..03}.tar").num_images == 14
    assert "names 3 of the 5 shards that were made together" in caplog.text


def test_numbers_keep_their_digits_and_a_file_of_that_name_is_itself(tmp_path):
    assert [path.name for path in shard_paths("a-{08..10}.tar")] == ["a-08.tar", "a-09.tar", "a-10.tar"]
    assert [path.name for path in shard_paths("a-{9..11}.tar")] == ["a-9.tar", "a-10.tar", "a-11.tar"]
    odd = write_tar(tmp_path / "a-{0..1}.tar", {"a.png": IMAGE})
    assert shard_paths(odd) == [odd] and len(ImageFiles(odd)) == 1


DESTS = [
    ("x-{0..40}.tar", "41 shards need as many images, and there are 23; give 23 or fewer"),
    ("x-{0..600}.tar", "601 shards, at most 500 can be written"),
    ("x-{0..3}", "which is no archive; write NAME-{000..015}.tar or .zip"),
]


@pytest.mark.parametrize(("dest", "expected"), DESTS)
def test_shards_that_cannot_be_written(folder, tmp_path, capsys, dest, expected):
    assert dataset_tool.main([f"--input={folder / 'photos'}", f"--output={tmp_path / dest}"]) == 1
    assert expected in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
