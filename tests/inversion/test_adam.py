"""Adam without the compiler: torch's bits, leaves without gradients, and that nothing imports the compiler."""

import subprocess
import sys

import pytest
import torch

from inversion.adam import Adam


def test_it_moves_leaves_as_torchs_own():
    ours = [torch.randn(3, 4), torch.randn(5), torch.randn(2, 2)]
    theirs = [leaf.clone().requires_grad_(True) for leaf in ours]
    mine, own = Adam(betas=(0.9, 0.99)), torch.optim.Adam([{"params": theirs[:2], "lr": 0.1}], betas=(0.9, 0.99))
    mine.add(ours[:2], 0.1)
    for step in range(7):
        if step == 2:  # one that comes later begins with its own first step
            mine.add(ours[2:], 0.3)
            own.add_param_group({"params": theirs[2:], "lr": 0.3})
        gradients = [torch.randn(leaf.shape) if (step + k) % 4 else None for k, leaf in enumerate(mine.leaves)]
        for leaf, gradient in zip(theirs, gradients, strict=False):
            leaf.grad = gradient
        rate = 1 - 0.1 * step
        for group, lr in zip(own.param_groups, (0.1, 0.3), strict=False):
            group["lr"] = lr * rate
        own.step()
        mine.step(gradients, rate)
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_gradient_for_each_leaf():
    optimizer = Adam()
    optimizer.add([torch.zeros(2), torch.zeros(3)], 0.1)
    with pytest.raises(ValueError, match="shorter"):
        optimizer.step([torch.ones(2)])


def test_nothing_imports_the_compiler():
    code = (
        "import sys, torch; from inversion.adam import Adam; import inversion.inverter; a = Adam(); "
        "a.add([torch.zeros(2)], 0.1); a.step([torch.ones(2)]); sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
