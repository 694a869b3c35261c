"""Graphed passes on a CPU: calls are run again where a GPU would replay, into the very memory of the recording."""

import pytest
import torch
from torch.utils._pytree import tree_leaves

from dnnlib.errors import UserError
from tests.support.runs import flatten, new_trainer, run_here, tiny_config, train, wake
from tests.support.tolerance import assert_close
from training.config import RunConfig
from training.passes import graphed
from training.passes.graphed import GraphedPass


def capture_on(device):
    def capture(function, generators):
        result = function()

        def replay():
            for memory, value in zip(tree_leaves(result), tree_leaves(function()), strict=True):
                if isinstance(memory, torch.Tensor) and memory is not value:
                    memory.detach().copy_(value.detach())

        return replay, result

    return capture


def gradients(recording, _):
    """Autograd keeps nothing from one replay to the next on a CPU, so the pass is run again for its derivative."""
    with torch.enable_grad():
        leaves = tree_leaves(recording.call())
    outputs = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.grad_fn]
    return torch.autograd.grad(outputs, recording.sources, recording.output_gradients, allow_unused=True)


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch):
    monkeypatch.setattr(graphed, "capture_on", capture_on)
    monkeypatch.setattr(graphed, "beside", lambda device, function: function())
    monkeypatch.setattr(graphed.Recording, "_gradients", gradients)


@pytest.fixture
def layer():
    return torch.nn.Linear(3, 2)


def test_other_values_of_inputs_and_weights(layer):
    graph = GraphedPass(layer.forward, layer)
    for _ in range(3):
        x = torch.randn(4, 3, requires_grad=True)
        expected = layer(x)
        probe = torch.randn_like(expected)
        expected_gradients = torch.autograd.grad(expected, [x, layer.weight, layer.bias], probe)
        y = graph(x)
        assert torch.equal(y, expected)
        actual_gradients = torch.autograd.grad(y, [x, layer.weight, layer.bias], probe)
        for actual, wanted in zip(actual_gradients, expected_gradients, strict=True):
            assert torch.equal(actual, wanted)
        with torch.no_grad():
            layer.weight.mul_(-2)


def test_gradients_accumulate_over_rounds(layer):
    graph = GraphedPass(layer.forward, layer)
    rounds = torch.randn(3, 4, 3)
    for x in rounds:
        graph(x).sum().backward()
    actual = layer.weight.grad
    layer.weight.grad = None
    layer(rounds).sum().backward()
    assert torch.allclose(actual, layer.weight.grad)


def test_results_without_a_derivative_stay(layer):
    graph = GraphedPass(layer.forward, layer)
    with torch.no_grad():
        inputs = torch.randn(3, 4, 3)
        results = [graph(x) for x in inputs]
        assert all(torch.equal(y, layer(x)) for x, y in zip(inputs, results, strict=True))


def test_frozen_weights_get_no_gradient_and_inputs_do(layer):
    graph = GraphedPass(layer.forward, layer)
    x = torch.randn(4, 3, requires_grad=True)
    graph(x).sum().backward()
    layer.weight.grad = None
    layer.requires_grad_(False)
    graph(x).sum().backward()
    assert layer.weight.grad is None and x.grad.abs().sum() > 0


def test_trees_constants_and_what_is_handed_through(layer):
    def function(pair, factor, nothing):
        assert nothing is None
        return {"y": layer(pair[0]) * factor, "same": pair[1], "factor": factor}

    graph = GraphedPass(function, layer)
    for factor in (2.0, 3.0, 2.0):
        pair = [torch.randn(1, 3), torch.randn(5)]
        result = graph(pair, factor, None)
        assert torch.equal(result["y"], layer(pair[0]) * factor)
        assert result["same"] is pair[1] and result["factor"] == factor


def test_each_kind_of_call_is_recorded_once(layer):
    calls = []

    def function(x):
        calls.append(len(x))
        return layer(x)

    graph = GraphedPass(function, layer)
    for size in (2, 3, 2, 3):
        graph(torch.randn(size, 3))
    assert len(graph._recordings) == 2 and calls[:3] == [2, 2, 2]  # to warm up, to be recorded, replayed


@pytest.mark.parametrize("changes", [{"train_degrad_only": True}, {"train_all": True}, {}, None], ids=str)
def test_a_step_is_the_eager_one(run_files, changes):
    """With every phase in each step, and several rounds with shared fakes where all is trained; None: mode base."""
    data, base = run_files
    train_all = bool(changes) and "train_all" in changes
    loss = {"pl_interval": 1, "r1_interval": 1, "share_fakes": train_all}
    if changes is not None:
        changes = changes | {"generator": {"quality": {"variant": "paper+"}}}
        loss |= {"content_weight": 1.0}
    results = []
    for graphs in ("none", "passes"):
        run = {"cuda_graphs": graphs, "batch_gpu": 4 if train_all else 8}
        config = tiny_config(data, None if changes is None else base, run=run, loss=loss, **(changes or {}))
        results.append(flatten(train(wake(new_trainer(config)), 2).state_dict()))
    eager, graphed_ = results
    assert eager.keys() == graphed_.keys()
    for name, value in eager.items():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            assert_close(graphed_[name], value, rtol=1e-4, what=name)


def test_only_gpus_have_graphs(run_files, tmp_path):
    config = tiny_config(run_files[0], run={"cuda_graphs": "passes"})
    with pytest.raises(UserError, match=r"^--cuda-graphs=passes on a cpu device, which has none; leave it out$"):
        run_here(config, tmp_path / "run")


@pytest.mark.parametrize("kind", ["passes", "phases"])
def test_graphs_and_the_compiler_exclude_each_other(kind):
    with pytest.raises(UserError, match=f"^run.cuda_graphs is {kind}, must be left out with run.compile$"):
        RunConfig(cuda_graphs=kind, compile=True)
