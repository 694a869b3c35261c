"""How close is close: relative to the largest value, as the reference numbers are read."""

import numpy as np
import torch


def assert_close(actual, expected, rtol=1e-5, what=""):
    """Assert that no element differs by more than `rtol` of the largest expected magnitude."""
    actual = actual.detach().cpu().double().numpy() if isinstance(actual, torch.Tensor) else np.asarray(actual)
    expected = expected.detach().cpu().double().numpy() if isinstance(expected, torch.Tensor) else np.asarray(expected)
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape} instead of {expected.shape}"
    error = np.abs(actual - expected).max(initial=0)
    bound = rtol * max(np.abs(expected).max(initial=0), 1e-12)
    assert error <= bound, f"{what}: differs by {error:.3g}, allowed {bound:.3g}"
