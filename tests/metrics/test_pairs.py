"""Measures of pairs by name: each compares by its own means, and a mistyped one is answered with the nearest."""

import types

import pytest
import torch

from dnnlib.errors import UserError
from metrics import pairs
from metrics.pairs import load_measure
from tests.support.measures import CPU, NO_WEIGHTS
from tests.support.tolerance import assert_close


def test_an_unknown_measure_is_one_sentence():
    with pytest.raises(UserError, match="^unknown measure of pairs 'lpips_alx'; did you mean 'lpips_alex'?"):
        load_measure("lpips_alx", NO_WEIGHTS, CPU)


def test_identity_is_the_cosine_of_the_faces_embeddings(monkeypatch):
    """Of the detector called arcface, which the measure names."""
    asked = []

    def load(name, weights, device):
        asked.append(name)
        return types.SimpleNamespace(features=lambda images: images.flatten(1))

    monkeypatch.setattr(pairs, "load_detector", load)
    measure = load_measure("identity", NO_WEIGHTS, CPU)
    a, b = torch.randn(3, 3, 2, 2), torch.randn(3, 3, 2, 2)
    expected = torch.nn.functional.cosine_similarity(a.flatten(1), b.flatten(1))
    assert_close(measure.compare(a, b), expected)
    assert asked == ["arcface"] and measure.detector is not None
