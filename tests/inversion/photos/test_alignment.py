"""Alignment: squares of faces by their boxes and landmarks, detectors on stand-ins, and no face as a sentence."""

import importlib.util
import math

import cv2
import numpy as np
import pytest

from dnnlib.errors import UserError
from images.squares import Square
from inversion.photos import face_detectors
from inversion.photos.alignment import (
    AFHQ,
    AFHQ_SCALE,
    AFHQ_UP,
    FFHQ,
    CropRule,
    NoFaceError,
    align,
    align_all,
    distinct,
    landmark_square,
)
from inversion.photos.face_detectors import Face, find_detector

# Eyes 60 px apart, mouth 66 px below; eyes at the photo's left first.
LANDMARKS = np.array([[70, 100], [130, 100], [100, 130], [80, 166], [120, 166]], np.float64)


def photo(height=200, width=260):
    y, x = np.mgrid[0:height, 0:width].astype(float)
    return np.stack([x / width * 255, y / height * 255, 128 + 0 * x], axis=2).astype(np.uint8)


class Stub:
    """A detector that finds what it is told."""

    def __init__(self, faces, name="cat"):
        self.faces, self.name = faces, name

    def __call__(self, photo):
        return self.faces


def turned(points, angle, about):
    cos, sin = math.cos(angle), math.sin(angle)
    return (points - about) @ np.array([[cos, sin], [-sin, cos]]) + about  # clockwise, for y counts downwards


def test_an_upright_face_has_the_square_of_the_formula():
    square = landmark_square(LANDMARKS)
    assert (square.x, square.y) == (100, pytest.approx(100 + 0.1 * 66))
    assert square.side == pytest.approx(max(4 * 60, 3.6 * 66)) == 240
    assert square.angle == 0


def test_a_long_face_is_measured_by_its_mouth():
    landmarks = LANDMARKS.copy()
    landmarks[3:, 1] += 20
    assert landmark_square(landmarks).side == pytest.approx(3.6 * 86)


@pytest.mark.parametrize("angle", [-2.5, -0.4, 0.0, 0.3, 1.57, 3.0])
def test_the_square_turns_scales_and_moves_with_the_face(angle):
    about = np.array([90.0, 120.0])
    upright, square = landmark_square(LANDMARKS), landmark_square(2 * turned(LANDMARKS, angle, about) + (5, -3))
    centre = 2 * turned(np.array([[upright.x, upright.y]]), angle, about)[0] + (5, -3)
    np.testing.assert_allclose([square.x, square.y], centre)
    assert square.side == pytest.approx(2 * upright.side)
    assert square.angle == pytest.approx(angle)


def test_the_square_of_a_box_lies_above_it():
    assert CropRule(scale=2.0, up=0.25).square(Face(100, 80, 40)) == Square(100, 70, 80)


def test_rules_use_landmarks_only_where_they_are_wanted():
    face = Face(100, 130, 90, landmarks=LANDMARKS)
    assert FFHQ.square(face) == landmark_square(LANDMARKS)
    assert AFHQ.square(face).side == AFHQ_SCALE * 90
    assert FFHQ.square(Face(100, 130, 90)).side == pytest.approx(FFHQ.scale * 90)


def test_the_afhq_rule_puts_a_face_where_afhq_has_it():
    """A box of 0.635 of the frame, with its centre 0.074 below the frame's, gives back the frame."""
    square = AFHQ.square(Face(256, 256 + 0.074 * 512, 0.635 * 512))
    np.testing.assert_allclose([square.x, square.y, square.side], [256, 256, 512])
    assert 0 < AFHQ_UP < 0.2


def test_align_takes_the_first_face_at_the_networks_resolution():
    aligned = align(photo(), Stub([Face(120, 110, 60), Face(30, 30, 20)]), "a.jpg", resolution=32)
    assert aligned.image.shape == (32, 32, 3) and aligned.square == AFHQ.square(Face(120, 110, 60))
    x, y = aligned.square.x / 260 * 255, aligned.square.y / 200 * 255
    np.testing.assert_allclose(aligned.image[15:17, 15:17].mean((0, 1)), [x, y, 128], atol=2)
    own = align(photo(), Stub([Face(120, 110, 60)]), "a.jpg", rule=CropRule(1.5, 0.0))
    assert own.image.shape == (90, 90, 3)


def test_a_face_within_a_face_is_none():
    """Boxes of neighbours may touch; those that OpenCV's cascade finds in one of AFHQ's photos are one face."""
    face, muzzle, neighbour = Face(258, 282, 335), Face(250, 344, 125), Face(520, 282, 300)
    assert distinct([face, neighbour, muzzle]) == [face, neighbour]
    both = align_all(photo(), Stub([Face(60, 80, 50), Face(190, 110, 40), Face(190, 120, 20)]), "a.jpg", 16)
    assert [aligned.square.side for aligned in both] == [AFHQ_SCALE * 50, AFHQ_SCALE * 40]


@pytest.mark.parametrize("name", ["cat", "human", "yunet"])
def test_no_face_is_a_sentence_with_the_cure(name):
    with pytest.raises(NoFaceError, match=f"^no face in a.jpg by the detector '{name}'; .*--no-align") as caught:
        align(photo(), Stub([], name), "a.jpg")
    assert ("YuNet" in str(caught.value)) == (name != "yunet")
    assert isinstance(caught.value, UserError)


# Detectors.


class FakeCascade:
    """Finds the bright squares of a gray image, and counts how often it is asked."""

    def __init__(self, is_blind=False):
        self.is_blind, self.calls = is_blind, 0

    def empty(self):
        return False

    def detectMultiScale(self, image, scaleFactor, minNeighbors, minSize):  # noqa: N802
        self.calls += 1
        found = []
        if not self.is_blind:
            contours, _ = cv2.findContours((image > 200).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            for contour in contours:
                x, y, w, h = cv2.boundingRect(contour)
                found += [(x, y, w, h)] if w >= minSize[0] else []
        return np.array(found) if found else ()


def with_squares(height, width, *squares):
    """Draw bright squares, given by centre and size, on black."""
    image = np.zeros((height, width, 3), np.uint8)
    for x, y, size in squares:
        image[y - size // 2 : y + size // 2, x - size // 2 : x + size // 2] = 255
    return image


@pytest.fixture
def fake_cat(monkeypatch):
    detector = find_detector("cat")
    detector.cascades = [FakeCascade(is_blind=True), FakeCascade()]
    return detector


@pytest.mark.parametrize("scale", [1, 3])
def test_cascade_boxes_come_back_in_pixels_of_the_photo_the_largest_first(fake_cat, scale):
    small, large = (100 * scale, 80 * scale, 60 * scale), (400 * scale, 250 * scale, 120 * scale)
    faces = fake_cat(with_squares(400 * scale, 600 * scale, small, large))
    assert [round(face.size / scale / 10) for face in faces] == [12, 6]
    for face, (x, y) in zip(faces, [(400, 250), (100, 80)], strict=True):
        np.testing.assert_allclose([face.x, face.y], [x * scale, y * scale], atol=3 * scale)
        assert face.landmarks is None


def test_mirrored_hits_are_mirrored_back(fake_cat):
    class OnlyAtTheLeft(FakeCascade):
        def detectMultiScale(self, image, **options):  # noqa: N802
            found = super().detectMultiScale(image, **options)
            return [box for box in found if box[0] + box[2] / 2 < image.shape[1] / 2]

    fake_cat.cascades = [OnlyAtTheLeft()]
    (face,) = fake_cat(with_squares(400, 600, (450, 200, 100)))
    np.testing.assert_allclose([face.x, face.y], [450, 200], atol=2)


def test_small_faces_are_left_out_and_nothing_ends_the_search(fake_cat):
    assert fake_cat(with_squares(400, 600, (300, 200, 20))) == []
    assert fake_cat.cascades[0].calls == fake_cat.cascades[1].calls == 2  # as it is, and mirrored


@pytest.mark.parametrize("name", list(face_detectors.CASCADES))
@pytest.mark.parametrize("shape", [(120, 90), (1, 1), (5, 300)])
def test_opencvs_cascades_find_nothing_in_a_flat_photo(name, shape):
    assert find_detector(name)(np.full((*shape, 3), 127, np.uint8)) == []


def test_an_opencv_without_cascades_is_named(monkeypatch):
    """As from version 5 on; the module loads, since other commands import it too."""
    monkeypatch.delattr(face_detectors.cv2, "CascadeClassifier")
    again = importlib.util.spec_from_file_location("again", face_detectors.__file__)
    again.loader.exec_module(importlib.util.module_from_spec(again))
    with pytest.raises(UserError, match=r"^OpenCV .* lacks its cascade for cat faces; install a version below 5$"):
        face_detectors.find_detector("cat")


def test_yunet_rows_become_faces(monkeypatch, tmp_path):
    small, large = [10, 20, 30, 50, *LANDMARKS.ravel() / 2, 0.9], [100, 20, 60, 80, *LANDMARKS.ravel(), 0.7]
    rows = np.array([small, large], np.float32)

    class Network:
        def setInputSize(self, size):  # noqa: N802
            self.size = size

        def detect(self, image):
            assert image.shape[:2] == self.size[::-1] and image[0, 0, 0] == 9, "BGR of the announced size"
            return 1, rows

    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *args, **options: Network())
    (tmp_path / "yunet.onnx").touch()
    image = np.zeros((1080, 1440, 3), np.uint8) + np.array([1, 5, 9], np.uint8)
    first, second = find_detector(str(tmp_path / "yunet.onnx"))(image)
    assert (first.x, first.y, first.size) == (260, 120, 140)  # the photo has twice the working size
    np.testing.assert_allclose(first.landmarks, 2 * LANDMARKS)
    assert (second.x, second.y, second.size) == (50, 90, 80)
    rows = None
    assert find_detector(str(tmp_path / "yunet.onnx"))(image) == []


def test_wrong_detectors_are_sentences(tmp_path):
    with pytest.raises(UserError, match="unknown face detector 'catt'; did you mean 'cat'"):
        find_detector("catt")
    with pytest.raises(UserError, match="does not exist"):
        find_detector(str(tmp_path / "none.onnx"))
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    with pytest.raises(UserError, match="bad.onnx is not a network that OpenCV can read; give the ONNX file of YuNet"):
        find_detector(str(tmp_path / "bad.onnx"))
