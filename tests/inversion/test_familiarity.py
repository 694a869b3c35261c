"""Familiarity: what an encoder's header tells, and which photos are strange by it."""

import dataclasses
import math

import pytest
import torch

from generation.rendering import synthesize
from images.datasets.dataset import ImageDataset
from inversion.encoders.config import EncoderNetworkConfig, FeatureHeadConfig, PaddingHeadConfig
from inversion.encoders.encoder import build_encoder
from inversion.familiarity import (
    MARGINS,
    MOST_DETAIL,
    distances_of,
    is_strange,
    usual_detail,
    usual_results,
    views_of,
)
from inversion.fidelity.bands import bands, detail_ratios, sigmas
from inversion.perceptual import default_perceptual
from networks.latents import Latents
from tests.support.networks import quality_generator
from tests.support.runs import write_images
from tests.support.tolerance import assert_close

CPU = torch.device("cpu")


def test_usual_results_are_those_of_degraded_photos(tmp_path):
    G = quality_generator().eval().requires_grad_(False)
    config = EncoderNetworkConfig(backbone="resnet34", width=0.125, q_width=0.125, input_size=32)
    encoder = build_encoder(config, G).eval()
    data = write_images(tmp_path / "photos.zip")
    sharp, noisy = (ImageDataset(data, degradation=recipe) for recipe in (None, "noise"))
    usual = [usual_results(encoder, G, dataset, seed=3) for dataset in (sharp, noisy)]
    assert usual[0]["reconstruction"] != usual[1]["reconstruction"]
    for found in usual:
        assert found.keys() == {"reconstruction", "detail"}
        distances = found["reconstruction"]
        assert distances.keys() == {"p50", "p99"} and 0 < distances["p50"] < distances["p99"] < math.inf
        assert len(found["detail"]) == 1 + len(sigmas(G.img_resolution)) and min(found["detail"]) > 0
    assert usual_results(encoder, G, noisy, seed=3) == usual[1]


def test_detail_tells_how_much_smoother_images_are():
    images = torch.randn(4, 3, 64, 64)
    parts = list(bands(images))
    smoother = 0.5 * parts[0] + sum(parts[1:])
    ratios = detail_ratios(images, smoother)
    assert_close(detail_ratios(images, images), torch.ones_like(ratios))
    assert (ratios[:, 0] > 3).all() and (ratios[:, 1:] < 1.8).all()


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        ([2.0, 1.5, 1, 1.25], [2.0, 1.5, 1.0, 1.25]),
        ([0.5, 99.0, -1.0, 1.0], [1.0, MOST_DETAIL, 1.0, 1.0]),
        ([2.0, 1.5, 1.25], None),
        ([2.0, 1.5, 1.0, float("nan")], None),
        ([2.0, 1.5, 1.0, "1"], None),
        ("2111", None),
        (None, None),
    ],
)
def test_detail_of_a_header_is_taken_where_it_makes_sense(detail, expected):
    assert usual_detail({"detail": detail}, resolution=64) == expected


def test_the_networks_own_images_have_no_distance():
    G = quality_generator().eval()
    latents = Latents(torch.randn(3, G.num_ws, G.w_dim), q=torch.randn(3, G.q_dim))
    with torch.no_grad():
        images = G.synthesis(latents.ws, latents.q, noise_mode="const").clamp(-1, 1)
    perceptual = default_perceptual(CPU)
    views = views_of(G, latents)
    assert torch.equal(views.reconstruction, images)
    assert torch.equal(views.sharp, synthesize(G, latents.sharp()).clamp(-1, 1))
    near, far = (
        distances_of(G, latents, views, photos, perceptual)["reconstruction"] for photos in (images, images.flip(0))
    )
    assert near.max() < 1e-6 and far[0] > 0


@pytest.mark.parametrize("kind", ["psp", "padding", "feature-style"])
def test_what_leads_away_from_the_image_of_w_counts(kind):
    """However well the photo is reconstructed with it."""
    G = quality_generator().eval().requires_grad_(False)
    config = EncoderNetworkConfig(
        kind=kind,
        backbone="resnet34",
        width=0.125,
        q_width=0,
        input_size=32,
        padding=PaddingHeadConfig(layers=2),
        features=FeatureHeadConfig(layer=1),
    )
    encoder = build_encoder(config, G).eval()
    photos = torch.rand(2, 3, G.img_resolution, G.img_resolution) * 2 - 1
    with torch.no_grad():
        latents = encoder(photos)
    found = distances_of(G, latents, views_of(G, latents), photos, default_perceptual(CPU))
    if kind == "psp":
        assert found.keys() == {"reconstruction"}
        return
    of_w = dataclasses.replace(latents, padding=None, features=None)
    with torch.no_grad():
        images = [synthesize(G, codes).clamp(-1, 1) for codes in (latents, of_w)]
        assert_close(found["content"], default_perceptual(CPU)(*images))
    assert kind == "padding" or found["content"].min() > 0, "fresh paddings are those of the network"


@pytest.mark.parametrize(
    ("distances", "header", "expected"),
    [
        ({"reconstruction": 2.01 * MARGINS["reconstruction"]}, {"reconstruction": {"p50": 1.0, "p99": 2.0}}, True),
        ({"reconstruction": 1.99 * MARGINS["reconstruction"]}, {"reconstruction": {"p50": 1.0, "p99": 2.0}}, False),
        ({"reconstruction": 0.1, "content": 3.1}, {"reconstruction": {"p99": 2.0}, "content": {"p99": 3.0}}, True),
        ({"reconstruction": 0.1, "content": 3.0}, {"reconstruction": {"p99": 2.0}, "content": {"p99": 3.0}}, False),
        ({"reconstruction": 0.1, "content": 1e9}, {"reconstruction": {"p99": 2.0}}, False),
        ({"reconstruction": 1e9}, {}, False),
        ({"reconstruction": 1e9}, {"reconstruction": None}, False),
        ({"reconstruction": 1e9}, {"reconstruction": {"p99": "much"}}, False),
    ],
)
def test_strange_is_what_is_beyond_the_usual(distances, header, expected):
    assert is_strange(distances, header) is expected
