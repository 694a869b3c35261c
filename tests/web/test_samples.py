"""Images from seeds on the page: what texts mean, that none names a file, and images as generate.py makes them."""

import numpy as np
import pytest

from dnnlib.errors import UserError
from generation.quality_codes import parse_qualities
from generation.sampling import Sampling, generate
from web.samples import Wish, parse_quality, parse_seeds, sample_images


@pytest.mark.parametrize("text", ["random", "seed:5", "0.5, -1, 2, 0"])
def test_texts_mean_what_they_mean_to_generate(text):
    [expected] = parse_qualities([text], [3, 4], 4, scale=0.5)
    assert np.array_equal(parse_quality(f" {text} ", [3, 4], 4, 0.5).codes, expected.codes)


def test_a_number_alone_is_a_seed():
    assert np.array_equal(parse_quality("5", [0], 4).codes, parse_quality("seed:5", [0], 4).codes)


def test_images_are_those_of_generate(studio):
    seeds = parse_seeds("0-4, 12")
    wish = Wish(seeds, parse_quality("seed:5", seeds, 4, 0.7), 0.6)
    qualities = parse_qualities(["sharp", "seed:5"], seeds, 4, scale=0.7)
    [views] = generate(studio.G, seeds, qualities, Sampling(truncation_psi=0.6))
    samples = studio.samples(wish, lambda *step: None)
    assert [sample.seed for sample in samples] == [0, 1, 2, 3, 4, 12]
    for row, sample in enumerate(samples):
        for image, expected in zip((sample.sharp, sample.degraded), views.images[:, row], strict=True):
            assert np.abs(image.astype(int) - expected).max() <= 1  # another batch may round otherwise


def test_progress_is_told(studio):
    seeds, steps = parse_seeds("0-5"), []
    studio.samples(Wish(seeds, parse_quality("random", seeds, 4)), lambda *step: steps.append(step))
    assert steps == [("images", number, 6) for number in range(1, 7)]


REFUSALS = [
    (parse_seeds, ("0-16",), "the number of seeds is 17, must be at most 16 at once"),
    (parse_seeds, ("4294967296",), "a seed is 4294967296, must be at most 4294967295; choose smaller ones"),
    (parse_seeds, ("x",), "'x' in 'x' is neither a number nor a range; write for example 0-7,12"),
    (parse_seeds, ("1," * 2000,), "the number of letters is 4000, must be at most 2000; write less"),
    (parse_quality, ("seed:x", [0], 4), "the quality code 'seed:x' is not a list of numbers; write random, seed:5, or"),
    (parse_quality, ("1,2", [0], 4), "the quality code has 2 numbers, needs 4; write random, seed:5, or 4 numbers"),
    (parse_quality, ("1,2,3,nan", [0], 4), "the quality code has a number that is not finite; correct it"),
    (parse_quality, ("1,2,3,1e300", [0], 4), "the quality code has a number that is not finite; correct it"),
    (parse_quality, ("", [0], 4), "the quality code '' is not a list of numbers; write random, seed:5, or 4 numbers"),
    (parse_quality, ("random", [0], 4, float("nan")), "the strength is nan, must be from 0 to 3"),
]


@pytest.mark.parametrize(("parse", "arguments", "sentence"), REFUSALS)
def test_refusals(parse, arguments, sentence):
    with pytest.raises(UserError) as caught:
        parse(*arguments)
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize("name", ["codes.txt", "1,2,3,4", "seed:5"])
def test_no_text_names_a_file(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("9 9 9 9")
    try:
        codes = parse_quality(name, [0], 4).codes
    except UserError as error:
        assert "is not a list of numbers" in str(error)
    else:
        assert 9 not in codes


def test_truncation_out_of_range_is_refused():
    with pytest.raises(UserError, match=r"^the truncation is 2, must be from 0 to 1$"):
        Wish((0,), parse_quality("random", [0], 4), 2)


def test_gray_networks_show_three_channels(monkeypatch):
    class Views:
        rows = slice(0, 1)
        images = np.zeros((2, 1, 8, 8, 1), np.uint8)

    monkeypatch.setattr("web.samples.generate", lambda *arguments: iter([Views()]))
    [sample] = sample_images(None, Wish((7,), parse_quality("random", [7], 4)))
    assert sample.sharp.shape == sample.degraded.shape == (8, 8, 3)
