"""A step that keeps a GPU busy: one layout of memory, no waiting within a tick, and passes that may be compiled."""

import functools

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.training.memory import META, ShapesOfRandom
from images.datasets.batches import Batch
from networks.files import ImageFormat
from networks.layers import split
from tests.support.networks import small_generator, write_network
from tests.support.runs import ALONE, first_round, new_trainer, tiny_config, wake
from tests.support.tolerance import assert_close
from torch_utils import distributed
from torch_utils.distributed import World
from training import loop, trainer
from training.config import OptimizerConfig, RunConfig
from training.optimization.optimizer import lazy_adam, load_optimizer

aten = torch.ops.aten


class Layouts(TorchDispatchMode):
    """Notes convolutions of features that are not channels_last, and copies of features to another layout.

    Images of three channels and what has a single pixel or channel don't count, nor do weights, of which 3x3 is the
    size. The derivative of a derivative looks at activations as weights; `second_order` leaves these aside.
    """

    def __init__(self, second_order):
        super().__init__()
        self.second_order, self.found, self.convolutions = second_order, [], 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        if packet == aten.convolution and not self.is_weight_gradient(args):
            self.convolutions += 1
            self.expect_channels_last(func, args[0], result)
        elif packet == aten.convolution_backward:
            self.convolutions += 1
            self.expect_channels_last(func, args[0], args[1], result[0])
        elif packet in (aten.clone, aten.copy_, aten._to_copy):
            before = args[1] if packet == aten.copy_ else args[0]
            if is_feature(before) and layout(before) == "channels_last" != layout(result):
                self.found.append((str(func), tuple(before.shape)))
        return result

    def is_weight_gradient(self, args):
        return self.second_order and args[1].shape[2:].numel() > 9

    def expect_channels_last(self, func, *tensors):
        for tensor in tensors:
            if tensor is not None and is_feature(tensor) and layout(tensor) == "contiguous":
                self.found.append((str(func), tuple(tensor.shape)))


def is_feature(x):
    return x.ndim == 4 and x.shape[1] > 3 and x.shape[2:].numel() > 1 and x.shape[2:] != (3, 3)


def layout(x):
    if x.is_contiguous(memory_format=torch.channels_last):
        return "channels_last"
    return "contiguous" if x.is_contiguous() else "part of another"


def phases(subject):
    round_, stream = first_round(subject), subject.streams[-1]
    fakes = subject.make_fakes(round_)
    return {
        "G": lambda: subject.train_generator([round_]),
        "G_reg": lambda: subject.regularize_generator([round_]),
        "D": lambda: subject.train_discriminator(stream, [round_], [fakes]),
        "D_reg": lambda: subject.regularize_discriminator(stream, [round_]),
    }


def is_known(variant, phase, func, shape):
    """Return whether a change of layout belongs to a part that computes in the other layout."""
    if shape in ((8, 16, 4, 4), (16, 16, 4, 4)):  # flattened for a fully connected layer, of one batch or two
        return True
    if variant == "released" and phase == "G_reg" and shape == (4, 16, 16, 16):  # ToRGB's second derivative, once
        return True
    if variant == "paper+" and "clone" in func and shape[1:] in ((16, 4, 4), (16, 8, 8)):  # the grid's pattern
        return True
    if variant == "pixels" and "clone" in func and shape[2:] == (4, 3):  # cosines of cells: [N, cosines, cells, C]
        return True
    if variant == "pixels" and "backward" in func and shape[:2] == (1, 24):  # channels of eight images, by own kernels
        return True
    if variant in ("paper", "paper+", "pixels"):  # the second derivative of pi
        return phase == "G_reg"
    return variant == "adain" and (phase == "G_reg" or "conv" not in func)  # instance_norm


@pytest.mark.parametrize("variant", [None, "released", "paper", "paper+", "pixels", "adain"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_features_stay_channels_last(run_files, variant, dtype):
    precision = {"precision": {"dtype": dtype, "blocks": 2}}
    quality = {} if variant is None else {"quality": {"variant": variant, "channels": 16}}
    config = tiny_config(
        run_files[0],
        None if variant is None else run_files[1],
        augment={"mode": "none"},
        generator=precision | quality,
        discriminator=precision,
    )
    for phase, run in phases(wake(new_trainer(config))).items():
        with Layouts(second_order=phase.endswith("_reg")) as layouts:
            run()
        assert layouts.convolutions > 15
        assert not {found for found in layouts.found if not is_known(variant, phase, *found)}, phase


def test_layouts_sees_what_is_wrong():
    x, w = torch.randn(2, 8, 8, 8), torch.randn(8, 8, 3, 3)
    with Layouts(second_order=False) as layouts:
        torch.nn.functional.conv2d(x, w)
        x.to(memory_format=torch.channels_last).contiguous()
    convolution = "aten.convolution.default"
    assert [func for func, _ in layouts.found] == [convolution, convolution, "aten.clone.default"]  # input and output


@pytest.mark.parametrize(("sizes", "dim"), [(2, 0), (4, 0), ([1, 4], 1)])
def test_split(sizes, dim):
    x = torch.randn(4, 5, 6, 7).to(memory_format=torch.channels_last).requires_grad_()
    parts = split(x, sizes, dim)
    assert torch.equal(torch.cat(parts, dim), x)
    [gradient] = torch.autograd.grad(parts[-1].square().sum(), x)
    assert gradient.is_contiguous(memory_format=torch.channels_last)
    expected = torch.cat([torch.zeros_like(part) for part in parts[:-1]] + [2 * parts[-1]], dim)
    assert torch.equal(gradient, expected)


class OverError(Exception):
    pass


class Done:
    """An exchange between processes that is over."""

    def wait(self):
        pass


@pytest.mark.parametrize("processes", [1, 2])
def test_the_loop_reads_no_values_within_a_tick(run_files, monkeypatch, tmp_path, processes):
    """Losses, guard, statistics, augmentation, averages, and whether to stop: nothing asks a device for a number."""

    def batches(*_, **__):
        images = torch.zeros(8 // processes, 3, 16, 16, dtype=torch.uint8)
        yield Batch(images, images, torch.zeros(len(images), 0))
        raise OverError

    sums = []
    monkeypatch.setattr(distributed.dist, "all_reduce", lambda tensor, async_op=False: sums.append(tensor) or Done())
    monkeypatch.setattr(trainer, "BatchRandom", ShapesOfRandom)
    monkeypatch.setattr(loop, "TrainingBatches", batches)
    for name in ("draw_fakes", "draw_reals", "require_agreement", "prepare_processor"):
        monkeypatch.setattr(loop, name, lambda *_: [])
    config = tiny_config(*run_files, run={"fused_optimizer": False}, augment={"interval": 1})
    with pytest.raises(OverError):
        loop.train(World(0, processes, META), config, tmp_path)
    assert {tensor.device for tensor in sums} == (set() if processes == 1 else {META, torch.device("cpu")})


@pytest.mark.parametrize("dtype,tf32,allowed", [("bf16", None, True), ("fp32", None, False), ("bf16", False, False)])
def test_tf32_comes_with_bf16(precision_of_cuda, dtype, tf32, allowed):
    for owner in precision_of_cuda:
        owner.allow_tf32 = not allowed
    loop.allow_tf32(tiny_config("", generator={"precision": {"dtype": dtype}}, run={"tf32": tf32}))
    assert [owner.allow_tf32 for owner in precision_of_cuda] == [allowed, allowed]


def test_compiled_passes_have_the_same_gradients(monkeypatch, tmp_path):
    """As graphs that are derived ahead of time, with no compiler behind them."""
    graphs = []
    compile_ = functools.partial(torch.compile, backend="aot_eager", fullgraph=True)
    monkeypatch.setattr(torch, "compile", lambda f, **options: graphs.append(f) or compile_(f, **options))
    images = ImageFormat(8, 3, 0)
    base = write_network(tmp_path / "base.safetensors", small_generator(8))
    reals = torch.rand(4, 3, 8, 8) * 2 - 1
    round_ = trainer.Round({"sharp": reals, "degraded": reals.roll(1, 3)}, torch.zeros(4, 0), slice(0, 4))
    gradients = []
    for compiled in (False, True):
        changes = {"generator": {"quality": {"blocks": 1}}, "run": {"compile": compiled}, "augment": {"mode": "none"}}
        subject = wake(trainer.Trainer(tiny_config("", base, batch=4, **changes), images, ALONE))
        subject.streams = subject.streams[1:]  # halves what is left to compile
        subject.train_generator([round_])
        subject.train_discriminator(subject.streams[0], [round_], [round_.reals])
        named = [*subject.G.named_parameters(), *subject.streams[0].D.named_parameters()]
        gradients.append({name: parameter.grad for name, parameter in named if parameter.grad is not None})
    eager, compiled = gradients
    assert len(graphs) == 10 and eager.keys() == compiled.keys()
    for name, gradient in eager.items():
        assert_close(compiled[name], gradient, what=name)


@pytest.mark.parametrize("saved,own", [(True, False), (False, True)])
def test_a_run_may_change_to_fused_steps_and_back(saved, own):
    """On a GPU, fused steps are counted there and others on the CPU."""
    weight = torch.nn.Parameter(torch.ones(3))
    runs = [RunConfig(fused_optimizer=fused) for fused in (saved, own)]
    optimizers = [lazy_adam({"weight": weight}, OptimizerConfig(), 0, run, torch.device("cpu")) for run in runs]
    weight.grad = torch.ones(3)
    optimizers[0].step()
    state = optimizers[0].state_dict()
    load_optimizer(optimizers[1], state)
    assert optimizers[1].param_groups[0]["fused"] == own and state["param_groups"][0]["fused"] == saved
    optimizers[1].step()
    assert optimizers[1].state[weight]["step"] == 2


@pytest.mark.parametrize("device,selected", [("cuda", []), ("cuda:1", [torch.device("cuda:1")])])
def test_one_process_takes_the_current_gpu_unless_one_is_named(monkeypatch, device, selected):
    chosen, worlds = [], []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    distributed.run(worlds.append, 1, device)
    assert chosen == selected and worlds == [World(0, 1, torch.device(device))]
