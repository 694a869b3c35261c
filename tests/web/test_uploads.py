"""Photos that were sent: within the limits, read as all photos are, and named without the page's folder."""

import shutil
import zlib

import PIL.Image
import pytest

from dnnlib.errors import UserError
from web.limits import Limits
from web.uploads import plain_stem, read_upload


def refusal(studio, path, limits=None):
    with pytest.raises(UserError) as caught:
        read_upload(path, studio.reader, limits or Limits())
    assert str(path.parent) not in str(caught.value)
    return str(caught.value)


def test_photos_are_upright(studio, photo_file, tmp_path):
    upright = PIL.Image.open(photo_file(0))
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    upright.transpose(PIL.Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    [photo] = read_upload(tmp_path / "turned.png", studio.reader, Limits())
    assert photo.photo.shape == (24, 40, 3) and photo.image.shape == (16, 16, 3)
    assert (photo.photo == read_upload(photo_file(0), studio.reader, Limits())[0].photo).all()


@pytest.mark.parametrize("name", ["text.png", "<img src=x onerror=alert(1)>.png", "a\x1b[31mb.png"])
@pytest.mark.parametrize("content", [b"", b"hello", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_photo_is_refused(studio, tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    sentence = refusal(studio, path)
    assert "cannot be read: " in sentence and "\x1b" not in sentence
    assert sentence.endswith("; save it again as PNG or JPEG, or smaller")


def test_photos_beyond_the_limits_are_refused(studio, photo_file, tmp_path):
    path = photo_file(0)
    assert (
        refusal(studio, path, Limits(megapixels=0.0001))
        == "a cat.png has 0.0 megapixels, at most 0.0001 are taken here; send it smaller"
    )
    size = path.stat().st_size / 2**20
    expected = f"a cat.png has {size:.1f} MiB, at most 1e-06 are taken here; send it smaller"
    assert refusal(studio, path, Limits(megabytes=1e-6)) == expected


def test_pixels_are_counted_before_they_are_decoded(studio, tmp_path):
    """The header promises 40 megapixels, of which the file has none."""

    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (8000).to_bytes(4, "big") + (5000).to_bytes(4, "big") + b"\x08\x02\x00\x00\x00"
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    assert "bomb.png has 40.0 megapixels, at most 20 are taken" in refusal(studio, path, Limits(megapixels=20))


def test_a_file_without_a_face_is_named(studio, photo_file, tmp_path):
    from inversion.photos.reader import PhotoReader

    path = tmp_path / "nobody.png"
    shutil.copy(photo_file(0), path)
    with pytest.raises(UserError) as caught:
        read_upload(path, PhotoReader(studio.G, "cat"), Limits())
    assert "nobody.png" in str(caught.value) and str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a cat.png", "a_cat"),
        ("../../etc/passwd", "passwd"),
        ('"><b>.jpg', "b"),
        ("...", "photo"),
        ("Über.png", "ber"),
        ("x" * 300 + ".png", "x" * 60),
    ],
)
def test_names_of_results_need_no_care(name, stem):
    assert plain_stem(name) == stem
