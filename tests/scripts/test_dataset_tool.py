"""The dataset tool: conversions to the value, sources of every kind, and archives that are whole and reproducible."""

import gzip
import hashlib
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataset_tool
from images.convert import Shape, to_gray_or_rgb
from images.datasets import conversion
from images.datasets.dataset import ImageDataset
from images.datasets.drawn_faces import KINDS, draw_face

WHITE = (255, 255, 255)


def save(image, path, **arguments):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = PIL.Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(path, **arguments)


def random_pixels(seed, shape=(32, 32, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for index, label in enumerate(["dog", "cat", "dog", "cat"]):
        save(random_pixels(index), folder / label / f"{index}.png")
    return folder


def run(capsys, **flags):
    """Run the tool and return its exit code and standard error."""
    names = {option.name: max(option.opts, key=len) for option in dataset_tool.convert.params}
    code = dataset_tool.main([f"{names.get(name, f'--{name}')}={value}" for name, value in flags.items()])
    return code, capsys.readouterr().err


def convert(capsys, **flags):
    code, errors = run(capsys, **flags)
    assert code == 0, errors
    return Path(flags["dest"])


def metadata(path):
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("dataset.json"))


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=50), st.sampled_from(["<u2", ">u2", "<i4"]))
def test_16_bits_are_scaled_not_clipped(values, kind):
    image = PIL.Image.fromarray(np.array([values], kind))
    levels = np.asarray(to_gray_or_rgb(image, WHITE))[0]
    np.testing.assert_array_equal(levels, np.round(np.array(values) / 257))


@pytest.mark.parametrize("alpha, expected", [(255, (200, 100, 0)), (0, (0, 0, 255)), (51, (40, 20, 204))])
def test_transparency_shows_the_background(alpha, expected):
    image = to_gray_or_rgb(PIL.Image.new("RGBA", (4, 4), (200, 100, 0, alpha)), (0, 0, 255))
    assert image.mode == "RGB"
    np.testing.assert_allclose(image.getpixel((0, 0)), expected, atol=1)


def test_gray_with_transparency_stays_gray_before_gray():
    image = PIL.Image.new("LA", (4, 4), (100, 0))
    assert to_gray_or_rgb(image, WHITE).getpixel((0, 0)) == 255
    assert to_gray_or_rgb(image, (255, 0, 0)).getpixel((0, 0)) == (255, 0, 0)


def test_palettes_become_colours_and_their_transparent_entry_the_background():
    image = PIL.Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    assert to_gray_or_rgb(image, WHITE).getpixel((1, 0)) == (40, 50, 60)
    image.info["transparency"] = 1
    converted = to_gray_or_rgb(image, WHITE)
    assert converted.getpixel((0, 0)) == (10, 20, 30) and converted.getpixel((1, 0)) == WHITE


def test_cmyk_and_black_and_white():
    assert to_gray_or_rgb(PIL.Image.new("CMYK", (1, 1), (0, 255, 255, 0)), WHITE).getpixel((0, 0)) == (255, 0, 0)
    assert to_gray_or_rgb(PIL.Image.new("1", (1, 1), 1), WHITE).getpixel((0, 0)) == 255


def test_camera_orientation_is_applied(tmp_path):
    pixels = random_pixels(0, (4, 6, 3))
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    save(pixels, tmp_path / "a.png", exif=exif)
    upright = to_gray_or_rgb(PIL.Image.open(tmp_path / "a.png"), WHITE)
    np.testing.assert_array_equal(np.asarray(upright), np.rot90(pixels, -1))


@pytest.mark.parametrize("image", [PIL.Image.new("F", (2, 2)), PIL.Image.new("I", (2, 2), 70000)])
def test_unknown_ranges_are_refused(image):
    with pytest.raises(ValueError, match="8 or 16 bits are needed"):
        to_gray_or_rgb(image, WHITE)


def test_crop_takes_the_middle_and_box_averages_it():
    pixels = random_pixels(0, (8, 12, 3))
    cropped = np.asarray(Shape(None, "center", "lanczos").apply(PIL.Image.fromarray(pixels), "it"))
    np.testing.assert_array_equal(cropped, pixels[:, 2:10])
    shrunk = np.asarray(Shape(4, "center", "box").apply(PIL.Image.fromarray(pixels), "it"))
    means = pixels[:, 2:10].reshape(4, 2, 4, 2, 3).mean((1, 3))
    np.testing.assert_allclose(shrunk, means, atol=1)


@given(st.integers(4, 60), st.integers(4, 60))
def test_wide_crop_lies_between_black_bars(width, height):
    image = PIL.Image.new("RGB", (width, height), WHITE)
    square = np.asarray(Shape(16, "center-wide", "box").apply(image, "it"))
    assert square.shape == (16, 16, 3)
    np.testing.assert_array_equal(square[:2], 0)
    np.testing.assert_array_equal(square[-2:], 0)
    assert (square[3:13] == 255).all()


def test_archive_holds_pixels_labels_and_origin(capsys, tmp_path, photos):
    dest = convert(capsys, source=photos, dest=tmp_path / "a.zip", labels="folders", max_images=3)
    dataset = ImageDataset(dest, use_labels=True)
    assert [dataset.label(index).tolist() for index in range(3)] == [[1, 0], [1, 0], [0, 1]]  # cat, cat, dog
    for index, seed in enumerate([1, 3, 0]):
        np.testing.assert_array_equal(dataset.image(index), random_pixels(seed).transpose(2, 0, 1))
    content = hashlib.sha256()
    for name in ["cat/1.png", "cat/3.png", "dog/0.png", "dog/2.png"]:
        data = (photos / name).read_bytes()
        content.update(f"{name}\0{len(data)}\0".encode() + data)
    assert metadata(dest)["source"] == {
        "tool": "dataset_tool",
        "format_version": 1,
        "resolution": 32,
        "channels": 3,
        "filter": "lanczos",
        "crop": "none",
        "source": "photos",
        "source_sha256": content.hexdigest(),
        "num_images": 3,
        "skipped": [],
    }


def test_results_below_the_source_stay_out_of_the_next_call(capsys, photos, tmp_path):
    """Written three times into the source itself, the data set stays what it is."""
    count = len(ImageDataset(convert(capsys, source=photos, dest=tmp_path / "a.zip", resolution=16)).files)
    for name in ("one", "two", "three"):
        dest = convert(capsys, source=photos, dest=photos / name, resolution=16)
        assert len(ImageDataset(dest).files) == count


def test_folders_below_a_single_one_are_the_classes(capsys, photos, tmp_path):
    plain = ImageDataset(convert(capsys, source=photos, dest=tmp_path / "a.zip", labels="folders"), use_labels=True)
    (tmp_path / "above").mkdir()
    photos.rename(tmp_path / "above" / "data")
    lower = convert(capsys, source=tmp_path / "above", dest=tmp_path / "b.zip", labels="folders")
    assert ImageDataset(lower, use_labels=True).label_digest() == plain.label_digest() and plain.label_dim > 1


def test_same_input_gives_the_same_bytes_and_sorted_stored_entries(capsys, tmp_path, photos):
    first, second = (
        convert(capsys, source=photos, dest=tmp_path / name, resolution=16, labels="folders")
        for name in ("a.zip", "b.zip")
    )
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        assert archive.namelist() == sorted(archive.namelist())
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}


def test_labels_survive_a_second_conversion(capsys, tmp_path, photos):
    first = convert(capsys, source=photos, dest=tmp_path / "a.zip", labels="folders")
    second = convert(capsys, source=first, dest=tmp_path / "b.zip", filter="box", resolution=16)
    third = convert(capsys, source=first, dest=tmp_path / "c.zip", labels="none")
    assert metadata(second)["labels"] == metadata(first)["labels"] and metadata(third)["labels"] is None
    assert metadata(second)["source"]["source_sha256"] == hashlib.sha256(first.read_bytes()).hexdigest()
    assert metadata(second)["source"]["filter"] == "box"


def test_folder_as_destination_holds_what_the_archive_holds(capsys, tmp_path, photos):
    archive = convert(capsys, source=photos, dest=tmp_path / "a.zip")
    folder = convert(capsys, source=photos, dest=tmp_path / "out")
    with zipfile.ZipFile(archive) as files:
        assert {name: files.read(name) for name in files.namelist()} == {
            path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }
    code, errors = run(capsys, source=photos, dest=folder)
    assert code == 1 and "exists already" in errors


def test_mixed_modes_become_one(capsys, tmp_path):
    save(random_pixels(0), tmp_path / "in" / "a.png")
    save(random_pixels(1, (32, 32)), tmp_path / "in" / "b.png")
    save(PIL.Image.fromarray(random_pixels(2)).convert("CMYK"), tmp_path / "in" / "c.jpg")
    save(random_pixels(3, (32, 32)).astype(np.uint16) * 257, tmp_path / "in" / "d.tif")
    assert ImageDataset(convert(capsys, source=tmp_path / "in", dest=tmp_path / "rgb.zip")).channels == 3
    dataset_tool.main(["--input", str(tmp_path / "in"), "--output", str(tmp_path / "gray.zip"), "--gray"])
    gray = ImageDataset(tmp_path / "gray.zip")
    assert gray.channels == 1
    np.testing.assert_array_equal(gray.image(1)[0], random_pixels(1, (32, 32)))
    np.testing.assert_array_equal(gray.image(3)[0], random_pixels(3, (32, 32)))


@pytest.mark.parametrize("workers", [0, 2])
def test_gray_images_among_coloured_ones_become_rgb_in_any_order(capsys, tmp_path, workers):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "0.png").write_bytes(b"not an image")
    for number in range(1, 4):
        save(random_pixels(number, (32, 32) if number < 3 else (32, 32, 3)), folder / f"{number}.png")
    some = {"source": folder, "on_bad_image": "skip", "workers": workers}
    assert ImageDataset(convert(capsys, **some, dest=tmp_path / "all.zip")).channels == 3
    assert ImageDataset(convert(capsys, **some, dest=tmp_path / "two.zip", max_images=2)).channels == 1


def test_jpeg_archive_is_a_dataset(capsys, tmp_path):
    dataset = ImageDataset(convert(capsys, source="drawn:2", dest=tmp_path / "a.zip", format="jpeg95"))
    assert dataset.files.names[0].endswith(".jpg")
    difference = dataset.image(0).astype(float) - draw_face(0, 64)[0].transpose(2, 0, 1)
    assert np.abs(difference).mean() < 5


def cifar_archive(path, batches):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in batches.items():
            entry = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def test_cifar10(capsys, tmp_path):
    data = random_pixels(0, (6, 3072))
    batch = [pickle.dumps({b"data": data[i : i + 3], b"labels": [7, 0, 9]}, protocol=2) for i in (0, 3)]
    test = pickle.dumps({b"data": data[:1], b"labels": [1]}, protocol=2)
    batches = {"test_batch": test, "data_batch_2": batch[1], "data_batch_1": batch[0]}
    source = cifar_archive(tmp_path / "cifar-10-python.tar.gz", batches)
    dataset = ImageDataset(convert(capsys, source=source, dest=tmp_path / "a.zip"), use_labels=True)
    assert [int(dataset.label(index).argmax()) for index in range(6)] == [7, 0, 9, 7, 0, 9]
    np.testing.assert_array_equal([dataset.image(index) for index in range(6)], data.reshape(6, 3, 32, 32))


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickles_run_nothing(capsys, tmp_path, protocol):
    content = pickle.dumps({b"data": Malicious(tmp_path / "owned"), b"labels": [0]}, protocol=protocol)
    source = cifar_archive(tmp_path / "cifar-10-python.tar.gz", {"data_batch_1": content})
    code, errors = run(capsys, source=source, dest=tmp_path / "a.zip")
    assert code == 1 and "mkdir" in errors and errors.count("\n") == 1
    assert not (tmp_path / "owned").exists() and not (tmp_path / "a.zip").exists()


def mnist_files(folder, with_labels=True):
    pixels = random_pixels(0, (3, 28, 28))
    source = folder / "train-images-idx3-ubyte.gz"
    source.write_bytes(gzip.compress(struct.pack(">4I", 2051, 3, 28, 28) + pixels.tobytes()))
    if with_labels:
        labels = gzip.compress(struct.pack(">2I", 2049, 3) + bytes([3, 1, 4]))
        (folder / "train-labels-idx1-ubyte.gz").write_bytes(labels)
    return source, pixels


@pytest.mark.parametrize("with_labels", [True, False])
def test_mnist(capsys, tmp_path, with_labels):
    source, pixels = mnist_files(tmp_path, with_labels)
    dest = convert(capsys, source=source, dest=tmp_path / "a.zip")
    dataset = ImageDataset(dest)
    assert (dataset.channels, dataset.resolution) == (1, 32)
    np.testing.assert_array_equal([dataset.image(index)[0, 2:30, 2:30] for index in range(3)], pixels)
    assert dataset.image(0)[0, :2].max() == 0
    labels = metadata(dest)["labels"]
    assert [label for _, label in labels] == [3, 1, 4] if with_labels else labels is None


def test_lsun(capsys, tmp_path):
    lmdb = pytest.importorskip("lmdb")
    buffers = []
    for seed in range(3):
        buffers.append(io.BytesIO())
        PIL.Image.fromarray(random_pixels(seed, (32, 40, 3))).save(buffers[-1], "WEBP", lossless=True)
    with lmdb.open(str(tmp_path / "church_lmdb")) as database, database.begin(write=True) as transaction:
        for key, buffer in zip([b"c", b"a", b"b"], buffers, strict=True):
            transaction.put(key, buffer.getvalue())
    dataset = ImageDataset(convert(capsys, source=tmp_path / "church_lmdb", dest=tmp_path / "a.zip", crop="center"))
    for index, seed in enumerate([1, 2, 0]):
        expected = random_pixels(seed, (32, 40, 3))[:, 4:36].transpose(2, 0, 1)
        np.testing.assert_array_equal(dataset.image(index), expected)


def test_drawn_images_depend_on_their_number_alone(capsys, tmp_path):
    few = ImageDataset(convert(capsys, source="drawn:3", dest=tmp_path / "a.zip", resolution=32), use_labels=True)
    many = ImageDataset(convert(capsys, source="drawn:9", dest=tmp_path / "b.zip", resolution=32), use_labels=True)
    for index in range(3):
        pixels, kind = draw_face(index, 32)
        np.testing.assert_array_equal(few.image(index), pixels.transpose(2, 0, 1))
        np.testing.assert_array_equal(many.image(index), few.image(index))
        assert many.label(index).argmax() == kind < len(KINDS)
    assert len({many.image(index).tobytes() for index in range(9)}) == 9


@pytest.mark.parametrize("seed", range(4))
def test_drawn_face_is_the_same_at_every_size_and_has_detail(seed):
    small, large = (np.asarray(draw_face(seed, size)[0], np.float32) for size in (32, 128))
    shrunk = large.reshape(32, 4, 32, 4, 3).mean((1, 3))
    assert np.abs(small - shrunk).mean() < 6
    blurred = (small[1:-1, 1:-1] * 2 + small[:-2, 1:-1] + small[2:, 1:-1] + small[1:-1, :-2] + small[1:-1, 2:]) / 6
    assert np.abs(small[1:-1, 1:-1] - blurred).mean() > 3


def test_skipped_images_are_recorded(capsys, tmp_path, photos):
    whole = (photos / "cat" / "1.png").read_bytes()
    (photos / "cat" / "1.png").write_bytes(whole[: len(whole) // 2])
    code, errors = run(capsys, source=photos, dest=tmp_path / "a.zip")
    assert code == 1 and "cat/1.png" in errors and not (tmp_path / "a.zip").exists()
    dest = convert(capsys, source=photos, dest=tmp_path / "a.zip", on_bad_image="skip", labels="folders")
    assert metadata(dest)["source"]["skipped"] == ["cat/1.png"]
    assert [label for _, label in metadata(dest)["labels"]] == [0, 1, 1]


@pytest.mark.parametrize("dest", ["a.zip", "folder"])
@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError])
def test_interrupted_run_leaves_nothing(capsys, tmp_path, photos, monkeypatch, dest, interruption):
    encode, calls = conversion._encode, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise interruption
        return encode(*arguments)

    monkeypatch.setattr(conversion, "_encode", interrupted)
    code, errors = run(capsys, source=photos, dest=tmp_path / dest)
    assert code == (130 if interruption is KeyboardInterrupt else 1) and errors.strip().count("\n") == 0
    assert os.listdir(tmp_path) == ["photos"]


@pytest.mark.parametrize(
    "flags, code, parts",
    [
        ({"source": "nowhere"}, 1, ["nowhere", "does not exist"]),
        ({"source": "drawn:x"}, 1, ["drawn:x", "drawn:1000"]),
        ({"source": "drawn:0"}, 1, ["drawn:0"]),
        ({"source": "drawn:" + "9" * 5000}, 1, ["drawn:999", "1 to 99999999"]),
        ({"source": ""}, 2, ["--input", "the path is empty"]),
        ({"source": "drawn:2", "dest": ""}, 2, ["--output", "the path is empty"]),
        ({"source": "drawn:2", "dest": "loop"}, 1, ["loop exists already and is no .zip"]),
        ({"source": "drawn:2", "dest": "pipe"}, 1, ["pipe exists already and is no .zip"]),
        ({"source": "drawn:2", "dest": "in"}, 1, ["in exists already and is no .zip"]),
        ({"source": "drawn:2", "dest": "folder.zip"}, 1, ["cannot write folder.zip: Is a directory"]),
        ({"source": "twice"}, 1, ["dataset.json in twice cannot be read: it has two entries called 'labels'"]),
        ({"source": "drawn:2", "resolution": 100}, 1, ["100", "64 or 128"]),
        ({"source": "drawn:2", "resolution": 2}, 2, ["--resolution", "2"]),
        ({"source": "drawn:2", "filter": "cubic"}, 2, ["cubic", "lanczos"]),
        ({"source": "drawn:2", "background": "1,2,300"}, 1, ["1,2,300", "0..255"]),
        ({"source": "drawn:2", "background": "pink"}, 1, ["pink"]),
        ({"source": "drawn:2", "dest": "none/a.zip"}, 1, ["none", "make it first"]),
        ({"source": "in", "labels": "folders"}, 1, ["a.png", "in no folder"]),
        ({"source": "drawn:2", "labels": "folders"}, 1, ["--labels=folders has no effect on drawn:2"]),
        ({"source": "drawn:2", "filter": "box"}, 1, ["--filter=box has no effect without --resolution"]),
        ({"source": "above", "labels": "folders"}, 1, ["are in the folder only, which would be the one class"]),
        ({"source": "in"}, 1, ["b.png", "40x32", "--crop=center"]),
        ({"source": "in", "crop": "center", "max_images": 1}, 0, []),
        ({"source": "odd"}, 1, ["a.png", "24", "power of two", "--resolution=16"]),
        ({"source": "float"}, 1, ["a.tif", "floats"]),
        ({"source": "float", "on_bad_image": "skip"}, 1, ["none of the 1 images"]),
        ({"source": "empty"}, 1, ["no images in"]),
        ({"source": "odd/a.png"}, 1, ["neither a folder nor a whole zip"]),
        ({"source": "damaged.tar.gz"}, 1, ["damaged.tar.gz", "download it again"]),
        ({"source": "t-images-idx3-ubyte.gz"}, 1, ["t-images-idx3-ubyte.gz", "download it again"]),
    ],
)
def test_errors_are_one_sentence(capsys, tmp_path, monkeypatch, flags, code, parts):
    monkeypatch.chdir(tmp_path)
    save(random_pixels(0), Path("in/a.png"))
    save(random_pixels(0, (32, 40, 3)), Path("in/b.png"))
    save(random_pixels(0, (24, 24, 3)), Path("odd/a.png"))
    save(np.zeros((32, 32), np.float32), Path("float/a.tif"))
    save(random_pixels(0), Path("above/only/a.png"))
    Path("empty").mkdir()
    Path("folder.zip").mkdir()
    Path("loop").symlink_to("loop")
    os.mkfifo("pipe")
    save(random_pixels(0), Path("twice/a.png"))
    Path("twice/dataset.json").write_text('{"labels": [["a.png", 0]], "labels": [["a.png", 1]]}')
    for name in ("damaged.tar.gz", "t-images-idx3-ubyte.gz"):
        Path(name).write_bytes(b"\x1f\x8bnothing")
    before = sorted(tmp_path.rglob("*"))
    answer, errors = run(capsys, **{"dest": "out.zip", **flags})
    assert answer == code
    if code:
        assert errors.startswith("Error: ") or "left out" in errors
        assert errors.splitlines()[-1].startswith("Error: ")
        assert all(part in errors for part in parts), errors
        assert sorted(tmp_path.rglob("*")) == before


def test_names_may_be_of_any_bytes(capsys, tmp_path):
    """Systems other than macOS have names that are no UTF-8."""
    name = os.fsdecode(b"\xff\xfe")
    try:
        save(random_pixels(0), tmp_path / name / f"{name}.png")
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    dest = convert(capsys, source=tmp_path / name, dest=tmp_path / f"{name}.zip")
    assert ImageDataset(dest).num_images == 1


def test_source_is_not_overwritten(capsys, tmp_path, photos):
    dest = convert(capsys, source=photos, dest=tmp_path / "a.zip")
    before = dest.read_bytes()
    code, errors = run(capsys, source=dest, dest=dest)
    assert code == 1 and "is the source itself" in errors and dest.read_bytes() == before


@pytest.mark.parametrize("name", ["a.zip", "a-{0..1}.tar"])
def test_an_archive_is_replaced_only_where_that_is_asked_for(capsys, tmp_path, name):
    dest = tmp_path / name
    there = [tmp_path / "a-0.tar", tmp_path / "a-1.tar"] if "{" in name else [dest]
    convert(capsys, source="drawn:2", resolution=16, dest=dest)
    before = [path.read_bytes() for path in there]
    code, errors = run(capsys, source="drawn:4", resolution=16, dest=dest)
    assert code == 1 and f"{there[0]} exists already" in errors and "--overwrite" in errors
    assert [path.read_bytes() for path in there] == before
    assert dataset_tool.main(["-i", "drawn:4", "--resolution=16", "-o", str(dest), "--overwrite"]) == 0
    assert [path.read_bytes() for path in there] != before


def test_script_runs_without_traceback():
    root = Path(dataset_tool.__file__).parent
    finished = subprocess.run(
        [sys.executable, "dataset_tool.py", "--output=x.zip"], cwd=root, capture_output=True, text=True
    )
    assert finished.returncode == 2
    assert finished.stderr == "Error: Missing option '-i' / '--input'.\n"
