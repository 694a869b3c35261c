"""Decoding of images: a closed list of formats, checksums of PNG, sizes that are known before any pixel is made."""

import io
import json
import os
import random
import struct
import warnings
import zipfile
import zlib

import numpy as np
import PIL.Image
import pytest

from dnnlib import limits
from dnnlib.errors import UserError
from images import decoding, png
from images.datasets.dataset import ImageDataset
from images.datasets.sources import open_source
from images.decoding import FORMATS, UnreadableImageError, decode, decode_plain
from images.files import Cures, ImageFiles
from images.photos import read_photo

PIXELS = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)


def encoded(kind="PNG", pixels=PIXELS, **options):
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


# Every way by which an image comes into this program, from a folder with `a.png` alone.
READERS = {
    "data set": lambda folder: ImageDataset(folder).image(0),
    "pixels": lambda folder: ImageFiles(folder).pixels("a.png"),
    "conversion": lambda folder: next(open_source(str(folder)).images()).load(),
    "photo": lambda folder: read_photo(folder / "a.png"),
}


@pytest.fixture(params=READERS)
def read(request):
    return READERS[request.param]


def refusal(read, folder, content):
    (folder / "a.png").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read(folder)
    assert "a.png" in str(caught.value) and str(caught.value).isprintable() and "; " in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "HEIF"])  # which needs a package; test_listing
def test_every_format_is_read_whatever_the_file_is_called(tmp_path, kind):
    if kind not in PIL.Image.SAVE:
        PIL.Image.init()
    (tmp_path / "a.png").write_bytes(encoded(kind))
    assert ImageFiles(tmp_path).image("a.png").convert("RGB").size == (16, 16)
    assert read_photo(tmp_path / "a.png").shape == (16, 16, 3)


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\n0 0 moveto showpage\n%%EOF\n"


def test_postscript_in_an_image_starts_no_program(read, tmp_path, monkeypatch):
    """Pillow would start Ghostscript with it; here a stand-in on the PATH notes the call."""
    tools, called = tmp_path / "bin", tmp_path / "called"
    tools.mkdir()
    (tools / "gs").write_text(f"#!/bin/sh\ntouch {called}\n")
    (tools / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    (tmp_path / "photos").mkdir()
    assert "it is not an image of a known kind" in refusal(read, tmp_path / "photos", POSTSCRIPT)
    assert not called.exists()


OTHERS = {
    "QOI": b"qoif" + bytes(60),
    "PSD": b"8BPS\0\1" + bytes(60),
    "DDS": b"DDS " + bytes(124),
    "XBM": b"#define a 3",
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_formats_are_refused(read, tmp_path, kind):
    assert "it is not an image of a known kind" in refusal(read, tmp_path, OTHERS[kind])


# Checksums.


@pytest.mark.parametrize("plain_pillow", [False, True])
def test_no_changed_bit_of_a_png_goes_unseen(read, tmp_path, monkeypatch, plain_pillow):
    if plain_pillow:
        monkeypatch.setattr(decoding, "pyspng", None)
    whole = encoded()
    rng = random.Random(0)
    for _ in range(20):
        data = bytearray(whole)
        data[rng.randrange(8, len(data))] ^= 1 << rng.randrange(8)
        refusal(read, tmp_path, bytes(data))


@pytest.mark.parametrize("length", [0, 7, 8, 20, 33, 60, -1, -4, -12])
def test_a_truncated_png_is_refused(tmp_path, length):
    refusal(READERS["pixels"], tmp_path, encoded()[:length])


def test_bytes_after_the_end_do_not_count(tmp_path):
    assert np.array_equal(decode_plain(encoded() + b"more"), PIXELS)


def with_size(width, height):
    """A PNG whose header is whole, and says this."""
    data = encoded()
    body = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + body + struct.pack(">I", zlib.crc32(body)) + data[33:]


@pytest.mark.parametrize("size", [(30_000, 30_000), (2**31 - 1, 2**31 - 1), (limits.PIXELS + 1, 1)])
def test_a_png_beyond_all_sizes_is_not_decoded(tmp_path, monkeypatch, size):
    monkeypatch.setattr(decoding.pyspng, "load", lambda data: pytest.fail("it is decoded"))
    with pytest.raises(ValueError, match="more than 179 million"):
        decode_plain(with_size(*size))


@pytest.mark.parametrize("kind", ["JPEG", "BMP", "GIF", "TIFF", "WEBP"])
def test_other_images_beyond_all_sizes_are_not_decoded(read, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(limits, "PIXELS", 255)
    assert "the most that is read" in refusal(read, tmp_path, encoded(kind))


def test_damaged_metadata_warn_of_nothing(tmp_path):
    """Pillow's warning names a file of Pillow; the pixels are whole."""
    image = PIL.Image.new("RGB", (16, 16), (9, 9, 9))
    image.save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\xff\xff")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (read_photo(tmp_path / "a.jpg") == 9).all()
        files = ImageFiles(tmp_path)
        assert (files.picture("a.jpg") == 9).all() and files.header("a.jpg").orientation == 1


def test_large_photos_warn_of_nothing(monkeypatch):
    """Pillow's warning names a file of Pillow, and a denial of service."""
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 200)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(encoded("BMP")).size == (16, 16)


def test_a_part_of_a_png_is_named():
    data = bytearray(encoded())
    data[data.index(b"IDAT") + 6] ^= 1
    with pytest.raises(ValueError, match=r"its part IDAT is damaged \(wrong checksum\)"):
        png.check_png(bytes(data))


# Files and archives.


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_regular_file_is_refused(read, tmp_path, make):
    (tmp_path / "photos").mkdir()
    make(tmp_path / "photos" / "a.png")
    with pytest.raises(UserError, match="a.png.*no regular file"):
        read(tmp_path / "photos")


def test_bad_files_of_every_kind_are_skipped_where_that_is_asked(tmp_path):
    for index in range(4):
        (tmp_path / f"{index}.png").write_bytes(encoded())
    os.mkfifo(tmp_path / "4.png")
    (tmp_path / "5.png").write_bytes(POSTSCRIPT)
    dataset = ImageDataset(tmp_path, on_bad_image="skip")
    assert dataset.image(4).shape == (3, 16, 16) and sorted(dataset.bad_images) == [4, 5]
    assert "--on-bad-image" not in "".join(dataset.bad_images.values())  # that is what the caller does


def archive(path, **files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target:
        for name, data in files.items():
            target.writestr(name.replace("_", "."), data)
    return path


def test_an_entry_that_expands_beyond_all_sizes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "IMAGE_BYTES", 10_000)
    files = ImageFiles(archive(tmp_path / "a.zip", a_png=encoded() + bytes(100_000)))
    for read in (files.pixels, files.header, files.image):
        with pytest.raises(UnreadableImageError, match="bytes when unpacked, at most 10,000 are read; replace"):
            read("a.png")


def test_metadata_that_expand_beyond_all_sizes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "METADATA_BYTES", 1000)
    files = ImageFiles(archive(tmp_path / "a.zip", a_png=encoded(), dataset_json=b" " * 5000 + b"{}"))
    with pytest.raises(UserError, match="dataset.json in .*a.zip cannot be read: it has 5,002 bytes when unpacked"):
        files.metadata()


@pytest.mark.parametrize("text", [b"[" * 100_000, b"{", b"\xff", b"9" * 5000, b"7"])
def test_damaged_metadata_are_one_sentence(tmp_path, text):
    files = ImageFiles(archive(tmp_path / "a.zip", a_png=encoded(), dataset_json=text))
    with pytest.raises(UserError, match="dataset.json in .*a.zip (cannot be read|is not an object)"):
        files.metadata()


def test_an_archive_of_a_later_version_is_one_sentence(tmp_path):
    data = bytearray(archive(tmp_path / "a.zip", a_png=encoded()).read_bytes())
    data[data.rindex(b"PK\x01\x02") + 6] = 99
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(UserError, match="a.zip cannot be read: zip file version 9.9; give a folder or a zip"):
        ImageFiles(tmp_path / "a.zip")


def test_two_files_of_one_name_are_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(tmp_path / "a.zip", "w") as target:
        for _ in range(2):
            target.writestr("a.png", encoded())
    with pytest.raises(UserError, match="a.zip cannot be read: it holds a.png more than once; give a folder"):
        ImageFiles(tmp_path / "a.zip")


@pytest.mark.parametrize("name", [b"11.p\0\0", b"11.pn\xa0", b"11.pn/", b".1.png"])
def test_an_image_that_a_damaged_directory_hides_is_missed(tmp_path, name):
    archive(tmp_path / "a.zip", **{"0_png": encoded(), "11_png": encoded()})
    data = (tmp_path / "a.zip").read_bytes()
    start = data.rindex(b"11.png")  # the directory is at the end
    (tmp_path / "a.zip").write_bytes(data[:start] + name + data[start + 6 :])
    with pytest.raises(UserError, match="a.zip cannot be read: File name in directory .* differ"):
        ImageFiles(tmp_path / "a.zip")


def test_a_file_that_a_damaged_length_hides_is_missed(tmp_path):
    """The directory gives the first file a comment, within which the second one lies."""
    archive(tmp_path / "a.zip", **{"0_png": encoded(), "11_png": encoded()})
    data = bytearray((tmp_path / "a.zip").read_bytes())
    first = data.index(b"PK\x01\x02")
    data[first + 32] = 46 + len("11.png")
    (tmp_path / "a.zip").write_bytes(data)
    assert zipfile.ZipFile(tmp_path / "a.zip").namelist() == ["0.png"]
    with pytest.raises(UserError, match="a.zip cannot be read: its directory is damaged: it lists 1 files and says 2"):
        ImageFiles(tmp_path / "a.zip")


def test_a_comment_of_an_archive_does_not_matter(tmp_path):
    with zipfile.ZipFile(archive(tmp_path / "a.zip", a_png=encoded()), "a") as target:
        target.comment = b"made by hand" * 100
    assert len(ImageFiles(tmp_path / "a.zip")) == 1


def test_names_in_archives_cannot_command_the_terminal(tmp_path):
    name = "a\nError: you\x1b[31m are hacked.png"
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as target:
        target.writestr(name, b"no image")
    with pytest.raises(UserError) as caught:
        ImageFiles(tmp_path / "a.zip").pixels(name)
    assert str(caught.value).isprintable() and r"a\nError: you\x1b[31m are hacked.png" in str(caught.value)


def test_the_command_says_what_to_do(tmp_path):
    """The same problem, and a cure that works where it comes up."""
    cures = Cures(damaged="leave it out", mode="make it gray", source="take another")
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b.png").write_bytes(encoded(pixels=np.zeros((8, 8, 4), np.uint8)))
    files = ImageFiles(tmp_path, cures)
    for name, cure in (("a.png", "leave it out"), ("b.png", "make it gray")):
        with pytest.raises(UserError, match=f"; {cure}$"):
            files.pixels(name)
    with pytest.raises(UserError, match="a.png cannot be read: it is neither a folder nor a .*; take another$"):
        ImageFiles(tmp_path / "a.png", cures)


# Labels.


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ([["a.png", [10**400]]], "not a vector of 1 finite numbers; correct it"),
        ([["a.png", [1e39, 0.0]]], "not a vector of 2 finite numbers; correct it"),
        ([["a.png", 0], ["a.png", 1]], "lists a.png with two labels, 0 and 1; keep one"),
        ([["b.png", 0]], "has no label for a.png"),
        ([["a.png", "0"]], "is '0', not a class of 0..99999; correct it"),
    ],
)
def test_labels_that_training_would_bend_are_refused(tmp_path, labels, sentence):

    (tmp_path / "a.png").write_bytes(encoded())
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    with pytest.raises(UserError) as caught:
        ImageDataset(tmp_path, use_labels=True)
    assert sentence in str(caught.value)


def test_data_without_labels_say_so(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded())
    with pytest.raises(UserError, match="has no dataset.json, which would hold labels; do without labels, or"):
        ImageDataset(tmp_path, use_labels=True)


def test_images_of_several_sizes_have_the_cure_of_the_command(tmp_path):
    for side in (16, 32):
        (tmp_path / f"{side}.png").write_bytes(encoded(pixels=np.zeros((side, side, 3), np.uint8)))
    with pytest.raises(UserError, match="run `python dataset_tool.py --input=.* --crop=center --resolution=16`$"):
        ImageDataset(tmp_path)
    with pytest.raises(UserError, match="; leave the others out$"):
        ImageDataset(tmp_path, cures=Cures(form="leave the others out"))
