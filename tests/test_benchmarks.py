"""The benchmarks run, and count what they say they count; what they measure is left to them."""

import json

import torch
import torch.nn.functional as F
from click.testing import CliRunner

from benchmarks.machine import Operations
from benchmarks.train_step import main


def test_operations_counts_a_convolution_and_its_derivatives():
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    w = torch.randn(5, 3, 3, 3, requires_grad=True)
    with Operations() as counter:
        y = F.conv2d(x, w, padding=1)
    forward = 2 * y.numel() * 3 * 9
    assert counter.count == forward
    with Operations() as counter:
        y.sum().backward()
    assert counter.count == 2 * forward


def test_train_step(tmp_path):
    path = tmp_path / "numbers.json"
    flags = "--resolution 16 --channel-base 64 --channel-max 8 --batch 4 --repeats 1 --precision fp32 --device cpu"
    result = CliRunner().invoke(main, [*flags.split(), "--json", str(path)], catch_exceptions=False)
    for phase in ("G_reg", "fakes", "D_degraded_reg", "average step", "generate, batch 8"):
        assert phase in result.output
    records = json.loads(path.read_text())["records"]
    assert [record["mode"] for record in records] == ["base", "qc, released block", "qc, paper block"]
    assert all(record["seconds"] > 0 and record["gflop"] > 0 for record in records)
