"""Photos: files of any kind to upright sRGB, squares cut and pasted back, to the network and back."""

import io
import math

import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnlib.errors import UserError
from images.decoding import UnreadableImageError
from images.photos import from_network, network_input, photo_files, read_photo, to_network
from images.squares import Square, centre_square, cut
from inversion.photos.paste_back import enlarge, paste_back, soft_mask

ORIENTATION = 0x0112


def scene(height=40, width=56):
    """Draw soft colours, uint8 `[H, W, 3]`, of which no turned or mirrored view is the same."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    planes = [128 + 100 * np.sin(x / 9 + y / 17), 120 + 90 * np.cos(y / 8 - x / 30), 40 + 150 * x / width]
    return np.stack(planes, axis=2).round().astype(np.uint8)


def noise(*shape):
    return np.random.default_rng(3).integers(0, 256, shape).astype(np.uint8)


# Files.


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_files_give_their_pixels(tmp_path, kind):
    path = tmp_path / f"photo.{kind.lower()}"
    PIL.Image.fromarray(scene()).save(path, **({"lossless": True} if kind == "WEBP" else {}))
    np.testing.assert_array_equal(read_photo(path), scene())


def test_jpeg_is_close(tmp_path):
    PIL.Image.fromarray(scene()).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_photo(tmp_path / "a.jpg").astype(int) - scene()).mean() < 2


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("L", 77, (77, 77, 77)),
        ("LA", (100, 0), (255, 255, 255)),
        ("LA", (100, 255), (100, 100, 100)),
        ("RGBA", (200, 100, 0, 255), (200, 100, 0)),
        ("RGBA", (200, 100, 0, 0), (255, 255, 255)),
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),
        ("1", 1, (255, 255, 255)),
        ("I;16", 257 * 90, (90, 90, 90)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
    ],
)
def test_every_mode_becomes_rgb(tmp_path, mode, value, expected):
    path = tmp_path / "photo.tiff"
    PIL.Image.new(mode, (3, 2), value).save(path)
    photo = read_photo(path)
    assert photo.shape == (2, 3, 3) and photo.dtype == np.uint8
    np.testing.assert_array_equal(photo, np.broadcast_to(expected, (2, 3, 3)))


def test_palettes_and_moving_pictures_give_the_first_frame(tmp_path):
    frames = [PIL.Image.new("P", (4, 4), index) for index in (0, 1)]
    for frame in frames:
        frame.putpalette([10, 20, 30, 200, 100, 0])
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(read_photo(tmp_path / "a.gif"), np.broadcast_to((10, 20, 30), (4, 4, 3)))


@pytest.mark.parametrize("has_profile", [False, True])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation, has_profile):
    """The photo is stored as the camera held it: undone by the operation that the EXIF standard names."""
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: np.rot90(a, 2),
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation](scene())
    exif = PIL.Image.Exif()
    exif[ORIENTATION] = orientation
    profile = {"icc_profile": renamed_srgb()} if has_profile else {}
    PIL.Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif, **profile)
    photo = read_photo(tmp_path / "a.png")
    assert photo.shape == scene().shape
    assert np.abs(photo.astype(int) - scene()).max() <= (3 if has_profile else 0)


def srgb():
    return PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()


def renamed_srgb():
    """sRGB that doesn't say so, and hence is converted."""
    profile = srgb()
    for name in ("sRGB", "RGB "):
        profile = profile.replace(name.encode("utf-16-be"), "Xyzw"[: len(name)].encode("utf-16-be"))
    return profile


def swapped_primaries():
    """A profile in which red and blue have changed places."""
    profile = srgb()
    return profile.replace(b"rXYZ", b"tmpX", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"tmpX", b"bXYZ", 1)


def test_colour_profiles_are_converted_and_broken_ones_ignored(tmp_path):
    swapped = swapped_primaries()
    name = "sRGB".encode("utf-16-be")
    swapped = swapped.replace(name, "BRGx".encode("utf-16-be"))
    PIL.Image.fromarray(scene()).save(tmp_path / "swapped.png", icc_profile=swapped)
    assert np.abs(read_photo(tmp_path / "swapped.png").astype(int) - scene()[:, :, ::-1]).max() <= 3
    for profile in (srgb(), b"not a profile", srgb()[:200]):
        PIL.Image.fromarray(scene()).save(tmp_path / "a.png", icc_profile=profile)
        np.testing.assert_array_equal(read_photo(tmp_path / "a.png"), scene())


def png_bytes(image):
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def with_content(content):
    return lambda path: path.write_bytes(content)


def with_image(image, kind="png"):
    return lambda path: image.save(path, kind)


REFUSALS = [
    ("empty.png", with_content(b""), "is not an image of a known kind"),
    ("text.png", with_content(b"no image"), "is not an image of a known kind"),
    ("cut.png", with_content(png_bytes(noise(40, 40, 3))[:900]), "cannot be read"),
    ("none.png", lambda path: None, "does not exist"),
    ("float.tiff", with_image(PIL.Image.new("F", (2, 2), 0.5), "tiff"), "its pixels are floats"),
    ("long.png", with_image(PIL.Image.new("1", (40_000, 1))), "has a side of 40000 pixels, at most 32766"),
]


@pytest.mark.parametrize(("name", "write", "words"), REFUSALS, ids=[name for name, *_ in REFUSALS])
def test_refusals(tmp_path, name, write, words):
    write(tmp_path / name)
    with pytest.raises(UserError if name == "none.png" else UnreadableImageError, match=words) as caught:
        read_photo(tmp_path / name)
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_bombs_are_refused(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(png_bytes(scene()))
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", scene().shape[0] * scene().shape[1] - 1)
    assert read_photo(tmp_path / "a.png").shape == scene().shape  # Pillow only warns up to twice the limit
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UnreadableImageError, match="megapixels, the most that is read; "):
        read_photo(tmp_path / "a.png")


def test_photo_files_are_found_sorted_without_hidden_ones(tmp_path):
    for name in ("b.JPG", "a.png", "sub/c.gif", ".hidden.png", ".git/d.png", "__MACOSX/e.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.relative_to(tmp_path).as_posix() for path in photo_files(tmp_path)] == ["a.png", "b.JPG", "sub/c.gif"]
    assert photo_files(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no photos in .*; it needs files that end in .png"):
        photo_files(tmp_path / "empty")
    with pytest.raises(UserError, match="does not exist"):
        photo_files(tmp_path / "none")


# Squares.


@pytest.mark.parametrize(("height", "width", "box"), [(40, 56, (8, 0)), (57, 40, (0, 8)), (33, 33, (0, 0))])
def test_the_centre_square_is_a_copy(height, width, box):
    photo, side = noise(height, width, 3), min(height, width)
    expected = photo[box[1] : box[1] + side, box[0] : box[0] + side]
    np.testing.assert_array_equal(cut(photo, centre_square(photo)), expected)


def test_beyond_its_borders_a_photo_is_mirrored():
    photo = noise(10, 12, 3)
    view = cut(photo, Square(2, 3, 10))  # from x = -3, y = -2
    padded = np.pad(photo, ((5, 5), (5, 5), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(view, padded[3:13, 2:12])


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_are_exact(turns):
    """A square that is turned clockwise shows the photo turned counterclockwise."""
    photo = noise(16, 16, 3)
    turned = cut(photo, Square(8, 8, 16, turns * math.pi / 2))
    np.testing.assert_array_equal(turned, np.rot90(photo, turns))


def test_corners_and_matrix_agree_with_the_angle():
    square = Square(50, 40, 20, math.pi / 6)
    corners = square.corners()
    top = corners[1] - corners[0]
    np.testing.assert_allclose(top, [20 * math.cos(math.pi / 6), 10], atol=1e-9)  # down at its right end: clockwise
    np.testing.assert_allclose(corners.mean(0), [50, 40])
    np.testing.assert_allclose(square.matrix(64) @ (32, 32, 1), [50, 40])


def test_shrinking_averages():
    """Stripes of one pixel become their mean, not one of them."""
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    small = cut(stripes, centre_square(stripes), 16)
    assert np.abs(small[:, 1:-1].astype(int) - 100).max() <= 4


def test_cutting_a_shifted_photo_shifts_the_square():
    photo = scene(60, 60)
    a = cut(photo, Square(30.3, 31.7, 21.5, 0.3), 24)
    b = cut(photo[4:, 7:], Square(23.3, 27.7, 21.5, 0.3), 24)
    np.testing.assert_array_equal(a, b)


# To the network.


def test_to_network_and_back_is_the_photo():
    photo = noise(24, 24, 3)
    images = to_network(photo, 24)
    assert images.shape == (1, 3, 24, 24) and images.dtype == torch.float32
    assert images.min() >= -1 and images.max() <= 1
    np.testing.assert_array_equal(from_network(images)[0], photo)
    np.testing.assert_array_equal(from_network(images * 3)[0] == 255, (images[0] * 3).permute(1, 2, 0) >= 0.99607)


def test_gray_networks_see_the_luma():
    images = to_network(np.broadcast_to(np.array([200, 100, 50], np.uint8), (8, 8, 3)), 4, channels=1)
    luma = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    assert images.shape == (1, 1, 4, 4)
    assert torch.allclose((images + 1) * 127.5, torch.full((1, 1, 4, 4), luma), atol=0.51)
    pixels = from_network(images)
    assert pixels.shape == (1, 4, 4, 3) and np.ptp(pixels[0], axis=2).max() == 0


def test_other_channels_are_refused():
    with pytest.raises(UserError, match="images of 4 channels, photos need 1 or 3"):
        network_input(scene(), 4)


# Pasting back.

SQUARES = [Square(30, 20, 24), Square(28.4, 21.3, 23.7, 0.4), Square(5, 5, 30, -0.8), Square(56, 40, 50, 2.0)]


def positions(square, shape, side):
    """Return where pixel centres `[H, W]` lie in the square, in units of it, by hand."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]] + 0.5
    cos, sin = math.cos(square.angle), math.sin(square.angle)
    dx, dy = x - square.x, y - square.y
    return (dx * cos + dy * sin) / side + 0.5, (dy * cos - dx * sin) / side + 0.5


@pytest.mark.parametrize("square", SQUARES)
def test_nothing_outside_the_square_changes(square):
    photo, image = scene(), noise(32, 32, 3)
    pasted = paste_back(photo, image, square)
    u, v = positions(square, photo.shape, square.side)
    is_outside = (u < 0) | (u > 1) | (v < 0) | (v > 1)
    assert is_outside.any() and not is_outside.all()
    np.testing.assert_array_equal(pasted[is_outside], photo[is_outside])
    assert (pasted != photo)[~is_outside].mean() > 0.5


@pytest.mark.parametrize("square", SQUARES)
def test_pasting_back_what_was_cut_changes_next_to_nothing(square):
    photo = scene()
    pasted = paste_back(photo, cut(photo, square), square)
    assert np.abs(pasted.astype(int) - photo).max() <= 4
    assert np.abs(pasted.astype(int) - photo).mean() < 0.5


def test_pasting_back_whole_pixels_changes_nothing():
    photo, square = noise(40, 56, 3), Square(30, 20, 24)
    np.testing.assert_array_equal(paste_back(photo, cut(photo, square), square), photo)


def test_inside_the_image_is_taken_as_it_is():
    photo, image = scene(), noise(20, 20, 3)
    pasted = paste_back(photo, image, Square(20, 20, 20), feather=0.1)
    np.testing.assert_array_equal(pasted[12:28, 12:28], image[2:18, 2:18])
    photo[:] = 100
    edge = paste_back(photo, np.full_like(image, 200), Square(20, 20, 20), feather=0.5)[20, 10:20, 0].astype(int)
    assert (np.diff(edge) >= 0).all() and edge[0] < 105 and edge[-1] > 195  # it fades without a step


def test_a_square_beside_the_photo_changes_nothing():
    photo = scene()
    np.testing.assert_array_equal(paste_back(photo, noise(8, 8, 3), Square(-50, -50, 20, 0.3)), photo)


@settings(max_examples=25)
@given(
    x=st.floats(-10, 70),
    y=st.floats(-10, 50),
    side=st.floats(2, 60),
    angle=st.floats(-7, 7),
    feather=st.floats(0.02, 0.5),
)
def test_the_mask_is_0_at_the_edge_and_1_within(x, y, side, angle, feather):
    square = Square(x, y, side, angle)
    mask = soft_mask(square.matrix(side), side, (56, 40), feather)
    u, v = positions(square, (40, 56), side)
    depth = np.minimum(np.minimum(u, 1 - u), np.minimum(v, 1 - v))
    assert mask.min() >= 0 and mask.max() <= 1
    assert (mask[depth <= -1e-6] == 0).all()
    np.testing.assert_allclose(mask[depth >= feather + 1e-6], 1, atol=1e-6)
    np.testing.assert_allclose(mask, np.sin(np.pi / 2 * (depth / feather).clip(0, 1)) ** 2, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "factor", "expected"),
    [
        (
            (3000, 20_000),
            2,
            "a.jpg would have 40000x6000 pixels, at most 179 megapixels and 32766 a side work; give a ",
        ),
        ((5000, 4000), 3.5, "a.jpg would have 14000x17500 pixels, at most 179 megapixels and .* than 3.5"),
    ],
)
def test_photos_are_not_enlarged_beyond_what_files_may_have(size, factor, expected):
    with pytest.raises(UserError, match=expected):
        enlarge(np.empty((*size, 3), np.uint8), factor, "a.jpg")
