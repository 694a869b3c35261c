"""Which files are images: endings, links, hidden parts, own results, labels one folder down, and words for the rest."""

import json
import logging
import os
import sys
import types
import zipfile

import numpy as np
import PIL.Image
import pytest

from dnnlib.errors import UserError
from images import listing
from images.datasets.dataset import ImageDataset
from images.datasets.labels import ranges, read_labels
from images.decoding import UnreadableImageError
from images.files import ImageFiles
from images.listing import EXTENSIONS, files_below, list_images
from images.photos import photo_files, read_photo


def picture(path, size=16, value=100, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (size, size), (value, 50, 200)).save(path, **options)
    return path


def zipped(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder).as_posix())
    return path


@pytest.fixture
def told(caplog):
    """Return a function that returns the warnings so far."""
    caplog.set_level(logging.WARNING)
    return lambda: [record.getMessage() for record in caplog.records]


def test_all_commands_take_every_format_that_pillow_reads(tmp_path):
    readable = [ending for ending in EXTENSIONS if PIL.Image.registered_extensions().get(ending) in PIL.Image.SAVE]
    assert {".png", ".jpg", ".jfif", ".webp", ".bmp", ".tif", ".gif", ".ppm"} <= set(readable)
    for number, ending in enumerate(readable):
        picture(tmp_path / f"{number:02d}{ending.upper()}")
    files = ImageFiles(tmp_path)
    assert len(files) == len(readable) and photo_files(tmp_path) == [tmp_path / name for name in files.names]
    for name in files.names:
        assert np.abs(files.picture(name)[0, 0].astype(int) - [100, 50, 200]).max() < 30
        assert np.array_equal(read_photo(tmp_path / name), files.picture(name))


def test_what_is_passed_over_is_counted_and_named_once(tmp_path, told):
    picture(tmp_path / "a.png")
    for name in ("b.txt", "c.TXT", "d.psd", "LICENSE", ".DS_Store"):
        (tmp_path / name).write_text("x")
    ImageFiles(tmp_path)
    photo_files(tmp_path)
    assert told() == [f"{tmp_path}: skipped 1 .psd, 2 .txt, 1 without an ending"]


def test_nothing_but_other_files_is_named_in_the_error(tmp_path):
    (tmp_path / "a.psd").write_text("x")
    for read in (ImageFiles, photo_files):
        with pytest.raises(UserError, match=r"no (images|photos) in .* \(skipped: 1 .psd\); it needs files that end"):
            read(tmp_path)


def test_links_to_folders_are_followed_and_loops_noticed(tmp_path, told):
    picture(tmp_path / "real" / "a" / "0.png")
    picture(tmp_path / "source" / "c" / "0.png")
    (tmp_path / "source" / "a").symlink_to(tmp_path / "real" / "a")
    (tmp_path / "source" / "c" / "back").symlink_to(tmp_path / "source")
    (tmp_path / "source" / "self").symlink_to("self")
    assert ImageFiles(tmp_path / "source").names == ["a/0.png", "c/0.png"]
    assert told() == [
        f"{tmp_path / 'source'}: skipped 1 without an ending, the link c/back (which leads back to a folder above)"
    ]
    assert len(photo_files(tmp_path / "source")) == 2


def test_one_folder_by_two_links_is_read_twice(tmp_path):
    picture(tmp_path / "real" / "0.png")
    for name in ("a", "b"):
        (tmp_path / "source").mkdir(exist_ok=True)
        (tmp_path / "source" / name).symlink_to(tmp_path / "real")
    assert ImageFiles(tmp_path / "source").names == ["a/0.png", "b/0.png"]


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path, monkeypatch):
    picture(tmp_path / "sub" / "a.png")
    scan = os.scandir

    def closed(folder):
        if str(folder).endswith("sub"):
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr(listing.os, "scandir", closed)
    with pytest.raises(UserError, match="the folder .*sub cannot be listed: Permission denied; check it"):
        files_below(tmp_path)


@pytest.mark.parametrize("name", [".hidden/b.png", "__MACOSX/b.png", "sub/.b.png", "sub/._b.png", "sub/.x/y/b.png"])
def test_hidden_parts_count_neither_in_folders_nor_in_zips(tmp_path, told, name):
    picture(tmp_path / "data" / "a.png")
    picture(tmp_path / "data" / name)
    for source in (tmp_path / "data", zipped(tmp_path / "data", tmp_path / "data.zip")):
        assert ImageFiles(source).names == ["a.png"]
    assert told() == []


RECORDS = {
    "done-restore.jsonl": "",
    "training-state.pt": "",
    "stats.jsonl": "",
    "dataset.json": json.dumps({"labels": None, "source": {"tool": "dataset_tool"}}),
    "codes.json": json.dumps({"network": "n", "images": [{"file": "seed0000.png", "seed": 0}]}),
}


@pytest.mark.parametrize("record", RECORDS)
def test_results_of_the_program_below_its_input_are_no_input(tmp_path, told, record):
    picture(tmp_path / "in" / "a.png")
    picture(tmp_path / "in" / "out" / "one" / "deep" / "a-restored.png")
    (tmp_path / "in" / "out" / "one" / record).write_text(RECORDS[record])
    for source in (tmp_path / "in", zipped(tmp_path / "in", tmp_path / "in.zip")):
        assert ImageFiles(source).names == ["a.png"]
    assert photo_files(tmp_path / "in") == [tmp_path / "in" / "a.png"]
    assert "skipped the folder out/one (with results of this program" in told()[0]
    named = tmp_path / "in" / "out" / "one"  # itself, it is read
    assert ImageFiles(named).names == ["deep/a-restored.png"]


@pytest.mark.parametrize(
    ("record", "content"),
    [
        ("dataset.json", '{"labels": [["a.png", 1]]}'),
        ("dataset.json", "no JSON"),
        ("codes.json", '{"images": ["a.png"]}'),
        ("codes.json", "[1, 2]"),
    ],
)
def test_files_of_others_make_no_results(tmp_path, record, content):
    picture(tmp_path / "a.png")
    picture(tmp_path / "sub" / "b.png")
    (tmp_path / "sub" / record).write_text(content)
    assert ImageFiles(tmp_path).names == ["a.png", "sub/b.png"]


def test_figures_beside_generated_images_are_not_measured(tmp_path, told):
    for name in ("seed0000.png", "grid.png", "content-seed:1.png"):
        picture(tmp_path / name)
    assert len(ImageFiles(tmp_path)) == 3
    (tmp_path / "codes.json").write_text(RECORDS["codes.json"])
    assert ImageFiles(tmp_path).names == ["seed0000.png"]
    assert told() == [f"{tmp_path}: skipped content-seed:1.png, grid.png"]


def test_results_within_results_are_named_once():
    names = ["a.png", "o/p/stats.jsonl", "o/p/q/r.png", "o/stats.jsonl", "z/stats.jsonl", "o/x.png"]
    found = list_images(names, lambda name: None, lambda name: b"")
    assert found.images == ["a.png"] and found.passed_over.startswith("the folders o, z (with results")


def labelled(folder, inner, labels, images=("0.png", "1.png")):
    for image in images:
        picture(folder / inner / image)
    (folder / inner / "dataset.json").write_text(json.dumps({"labels": labels}))
    return folder


@pytest.mark.parametrize("inner", ["", "data"])
@pytest.mark.parametrize("prefix", ["", "./", "x/../"])
def test_labels_are_found_one_folder_down_and_by_other_spellings(tmp_path, inner, prefix):
    labels = [[f"{prefix}0.png", 1], [f"{prefix}1.png", 0]]
    source = labelled(tmp_path / "in", inner, labels)
    for path in (source, zipped(source, tmp_path / "in.zip")):
        files = ImageFiles(path)
        assert read_labels(files, files.metadata()) == [1, 0]
        assert ImageDataset(path, use_labels=True).label_dim == 2


def test_labels_with_backslashes_fit_archives_with_backslashes(tmp_path):
    picture(tmp_path / "0.png")
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.write(tmp_path / "0.png", "c\\0.png")
        archive.writestr("dataset.json", json.dumps({"labels": [["c\\0.png", 0]]}))
    files = ImageFiles(tmp_path / "in.zip")
    assert files.names == ["c/0.png"] and read_labels(files, files.metadata()) == [0]
    assert files.picture("c/0.png").shape == (16, 16, 3)


def test_two_entries_of_one_file_are_refused(tmp_path):
    picture(tmp_path / "0.png")
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for name in ("0.png", "./0.png"):
            archive.writestr(name, (tmp_path / "0.png").read_bytes())
    with pytest.raises(UserError, match=r"in.zip holds 0.png and \./0.png, one file; pack it again"):
        ImageFiles(tmp_path / "in.zip")


def test_labels_of_some_images_only_are_named(tmp_path, told):
    labelled(tmp_path, "a", [["0.png", 0], ["1.png", 1]])
    picture(tmp_path / "b" / "0.png")
    assert not ImageFiles(tmp_path).has_metadata
    assert told() == [f"{tmp_path}: skipped a/dataset.json (labels of some images only)"]


@pytest.mark.parametrize(
    ("classes", "words"), [([1, 2], "class 0 of 0-2"), ([0, 5], "class 1-4 of 0-5"), ([1, 5], "class 0, 2-4 of 0-5")]
)
def test_classes_without_images_are_named(tmp_path, caplog, classes, words):
    source = labelled(tmp_path, "", [["0.png", classes[0]], ["1.png", classes[1]]])
    assert ImageDataset(source, use_labels=True).label_dim == max(classes) + 1
    assert f"no image has {words} in dataset.json" in caplog.text


def test_ranges_are_short():
    assert ranges([0, 1, 2, 7, 9, 10]) == "0-2, 7, 9-10"
    assert ranges(range(0, 40, 2)) == "0, 2, 4, 6, 8, ..."


HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"


def test_heic_without_its_reader_says_which_package_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(PIL.Image, "OPEN", {k: v for k, v in PIL.Image.OPEN.items() if k != "HEIF"})
    (tmp_path / "a.heic").write_bytes(HEIC)
    for read in (lambda: read_photo(tmp_path / "a.heic"), lambda: ImageFiles(tmp_path).image("a.heic")):
        with pytest.raises(
            UnreadableImageError, match=r"it is HEIF, which needs pillow-heif \(pip install .*pillow-heif\)"
        ):
            read()


def test_heic_is_read_where_its_reader_is_installed(tmp_path, monkeypatch):
    class Stub(PIL.Image.Image):
        def __init__(self, file, name):
            super().__init__()
            self.im, self._mode, self._size = PIL.Image.core.fill("RGB", (16, 16), (9, 8, 7)), "RGB", (16, 16)

    def register():
        PIL.Image.register_open("HEIF", Stub, lambda head: head[4:12] == b"ftypheic")

    for table in ("OPEN", "ID"):
        monkeypatch.setattr(PIL.Image, table, type(getattr(PIL.Image, table))(getattr(PIL.Image, table)))
    monkeypatch.setitem(sys.modules, "pillow_heif", types.SimpleNamespace(register_heif_opener=register))
    (tmp_path / "a.heic").write_bytes(HEIC)
    assert (read_photo(tmp_path / "a.heic") == [9, 8, 7]).all()


@pytest.mark.parametrize("orientation", [None, 6])
def test_a_real_heic_photo_is_read_as_it_is_seen(tmp_path, orientation):
    """As phones write it; 6 says that the camera was held upright."""
    pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed (the extra heic)")
    colours = np.random.default_rng(0).integers(40, 200, (4, 6, 3), np.uint8)
    pixels = colours.repeat(8, axis=0).repeat(8, axis=1)
    exif = PIL.Image.Exif()
    if orientation is not None:
        exif[0x112] = orientation
    photo = pillow_heif.from_pillow(PIL.Image.fromarray(pixels))
    photo.save(tmp_path / "a.heic", quality=95, exif=exif.tobytes())
    expected = pixels if orientation is None else np.rot90(pixels, -1)
    found = read_photo(tmp_path / "a.heic")
    assert found.shape == expected.shape and np.abs(found.astype(int) - expected).max() <= 4
    assert ImageFiles(tmp_path).image("a.heic").format == "HEIF"


@pytest.mark.parametrize(("head", "name"), [(b"\x00\x00\x00\x1cftypavif", "AVIF"), (b"\xff\x4f\xff\x51", "JPEG2000")])
def test_formats_that_this_pillow_lacks_are_named(tmp_path, monkeypatch, head, name):
    monkeypatch.setattr(PIL.Image, "OPEN", {k: v for k, v in PIL.Image.OPEN.items() if k != name})
    (tmp_path / "a.png").write_bytes(head + bytes(64))
    with pytest.raises(UnreadableImageError, match=f"it is {name}, which needs"):
        read_photo(tmp_path / "a.png")
