"""The CUDA kernels without a GPU: their source runs on the CPU by the very launch plans and equals the torch path."""

import functools
import itertools
import logging
import multiprocessing
import os
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support import host_kernels
from tests.support.kernel_cases import (
    BIAS_ACT_CASES,
    DTYPES,
    LARGE,
    LAYOUTS,
    LONG,
    OUTER,
    ROTATED,
    UPFIRDN2D_CASES,
    assert_same_results,
    bias_act_results,
    upfirdn2d_results,
)
from tests.support.tolerance import assert_close
from tests.training import test_step_gpu
from torch_utils.cuda import bias_act as bias_act_kernel
from torch_utils.cuda import cache, compiler, operators, upfirdn2d_plan
from torch_utils.cuda import driver as kernel_driver
from torch_utils.cuda.compiler import KernelError, compile_kernel
from torch_utils.cuda.launch import Kernel, alignment
from torch_utils.ops.bias_act import ACTIVATIONS, bias_act
from torch_utils.ops.upfirdn2d import upfirdn2d

try:
    compiler.version()
    WITHOUT_NVRTC = ""
except KernelError as error:
    WITHOUT_NVRTC = str(error)
needs_nvrtc = pytest.mark.skipif(bool(WITHOUT_NVRTC), reason=WITHOUT_NVRTC)
needs_compiler = pytest.mark.skipif(not host_kernels.COMPILER, reason="no C++ compiler")

FLAT = Kernel("upfirdn2d_any", (("TYPE", "Float32"),))


@pytest.fixture(scope="module")
def used_kernels():
    """Every kernel that the cases need, found by running them on outputs that nobody computes."""

    def run():
        for case in UPFIRDN2D_CASES:
            upfirdn2d_results(case)
        for case in BIAS_ACT_CASES:
            bias_act_results(case)
            bias_act_results(case, gain=-0.7)

    return host_kernels.kernels_of(run)


@pytest.fixture(scope="module")
def compiled(used_kernels):
    """All of them, compiled for the CPU."""
    host_kernels.build(used_kernels)


def assert_equal_paths(results, dtype, is_traced):
    """Compare what `results()` gives by the torch path and by the kernels."""
    expected = results()
    with host_kernels.on_host(is_traced):
        actual = results()
    assert_same_results(actual, expected, dtype)
    return actual


def test_cases_reach_every_kernel(used_kernels):
    assert {kernel.name for kernel in used_kernels} == {
        "bias_act",
        "upfirdn2d_any",
        "upfirdn2d_patch",
        "upfirdn2d_separable",
    }
    for macro, values in {"BIAS": {0, 1, 2, 3, 4}, "ORDER": {0, 1, 2}, "VECTOR": {4, 8}, "FROM_OUTPUT": {0, 1}}.items():
        assert {dict(kernel.macros)[macro] for kernel in used_kernels if kernel.name == "bias_act"} >= values
    for macro, values in {"OUTER": {0, 1}, "LANES": {1, 4, 8}, "LOAD": {1, 4, 8}, "STORE": {1, 4, 8}}.items():
        assert {dict(kernel.macros)[macro] for kernel in used_kernels if kernel.name.endswith("patch")} >= values
    acts = {dict(kernel.macros)["ACTIVATION"] for kernel in used_kernels if kernel.name == "bias_act"}
    assert acts == {act.capitalize() for act in ACTIVATIONS}


@needs_compiler
@pytest.mark.usefixtures("compiled")
@settings(max_examples=80)
@given(
    case=st.sampled_from(UPFIRDN2D_CASES),
    flip=st.booleans(),
    gain=st.sampled_from([1.0, 4.0, 0.3]),
    batch=st.integers(0, 3),
    seed=st.integers(0, 1000),
    is_traced=st.booleans(),
)
def test_upfirdn2d_equals_the_torch_path(case, flip, gain, batch, seed, is_traced):
    actual = assert_equal_paths(lambda: upfirdn2d_results(case, flip, gain, batch, seed), case[1], is_traced)
    assert batch == 0 or actual["y"].is_contiguous(memory_format=case[2])


@needs_compiler
@settings(max_examples=60)
@given(
    taps=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    up=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    down=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    before=st.tuples(st.integers(-9, 20), st.integers(-9, 20)),
    spare=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    flip=st.booleans(),
)
def test_any_filter_and_factors(taps, size, up, down, before, spare, flip):
    """The kernel without specialisation, by the definition; `spare`: what the padding behind leaves to slide over."""
    x, f = torch.randn(1, 2, size[1], size[0]), torch.randn(taps[1], taps[0])
    canvas = torch.zeros(1, 2, taps[1] + spare[1], taps[0] + spare[0])
    for row, column in itertools.product(range(size[1]), range(size[0])):
        at_x, at_y = column * up[0] + before[0], row * up[1] + before[1]
        if 0 <= at_x < canvas.shape[3] and 0 <= at_y < canvas.shape[2]:
            canvas[:, :, at_y, at_x] = x[:, :, row, column]
    weight = (f if flip else f.flip([0, 1])).expand(2, 1, *f.shape)
    expected = torch.nn.functional.conv2d(canvas, weight, stride=down[::-1], groups=2)
    padding = (before[0], 0, before[1], 0)
    y = torch.full_like(expected, torch.nan)
    work = upfirdn2d_plan.resampling(x, f, y, up, down, padding, flip, 1.0)
    host_kernels.execute(upfirdn2d_plan._plan_any(work), [y, x, f])
    assert_close(y, expected)


@needs_compiler
@pytest.mark.usefixtures("compiled")
@settings(max_examples=100)
@given(
    case=st.sampled_from(BIAS_ACT_CASES),
    gain=st.sampled_from([None, 0.5, -0.7]),
    seed=st.integers(0, 1000),
    is_traced=st.booleans(),
)
@example(("swish", None, ((2, 3, 4, 16), 1), torch.bfloat16), None, 325, True)  # where a sum nearly cancels
def test_bias_act_equals_the_torch_path(case, gain, seed, is_traced):
    act, clamp, _, dtype = case
    if clamp is not None and dtype != torch.float32:
        seed = 0  # rounding decides on which side of the bound a number lies, so these have none beside it
    assert_equal_paths(lambda: bias_act_results(case, gain, None, seed), dtype, is_traced)


@needs_compiler
@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_upfirdn2d_reference_numbers(golden, layout):
    arrays, cases = golden("upfirdn2d")

    def results(case):
        i, options = case["i"], {name: value for name, value in case.items() if name not in ("i", "filter")}
        kernel = torch.tensor(arrays[f"kernel{i}"]) if f"kernel{i}" in arrays else None
        x = torch.tensor(arrays[f"x{i}"]).contiguous(memory_format=layout).requires_grad_()
        y = upfirdn2d(x, kernel, **options)
        return y, *torch.autograd.grad(y, x, torch.tensor(arrays[f"g{i}"]))

    cases = cases[::7]
    for case, (y, dx) in zip(cases, host_kernels.on_built_kernels(lambda: [*map(results, cases)]), strict=True):
        assert_close(y, arrays[f"y{case['i']}"], what=f"y of {case}")
        assert_close(dx, arrays[f"dx{case['i']}"], what=f"dx of {case}")


@needs_compiler
@pytest.mark.usefixtures("compiled")
def test_bias_act_reference_numbers(golden):
    arrays, cases = golden("bias_act")
    with host_kernels.on_host():
        for case in cases[3::4]:
            i = case.pop("i")
            x, b, g = (torch.tensor(arrays[f"{n}{i}"], dtype=torch.float32, requires_grad=True) for n in "xbg")
            y = bias_act(x, b, **case)
            dx, db = torch.autograd.grad(y, [x, b], g, create_graph=True)
            (ddx,) = torch.autograd.grad((dx * torch.tensor(arrays[f"h{i}"]).float()).sum(), x, allow_unused=True)
            ddx = torch.zeros_like(x) if ddx is None else ddx
            for name, value in {"y": y, "dx": dx, "db": db, "ddx": ddx}.items():
                assert_close(value, arrays[f"{name}{i}"], what=f"{name} of {case}")


@needs_compiler
@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("dtype", DTYPES[1:])
def test_conversions_are_those_of_torch(dtype):
    """Every number of 16 bits is read right, and products of all sizes are rounded as torch rounds them."""
    x = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(dtype)
    with host_kernels.on_host():
        for gain in (1.0, 1 / 3, 1e-3, 3.0):
            expected = (x.float() * np.float32(gain)).to(dtype)
            y = bias_act(x, gain=gain)
            assert torch.equal(y.isnan(), expected.isnan())
            assert torch.equal(y.nan_to_num(7.0), expected.nan_to_num(7.0))


@needs_compiler
@pytest.mark.usefixtures("compiled")
def test_bias_act_passes_what_is_not_a_number():
    x = torch.tensor([torch.nan, torch.inf, -torch.inf, 1.0])

    def results():
        return [bias_act(x, act=act, clamp=3.0).nan_to_num(9.0) for act in ("linear", "relu", "lrelu", "tanh")]

    assert all(map(torch.equal, host_kernels.on_built_kernels(results), results()))


@needs_compiler
@pytest.mark.parametrize("f", [OUTER, ROTATED])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_zeros_around_an_image_are_zeros_beside_infinity(f, layout):
    """What lies outside is never read from a pixel at the edge, where zero times infinity would spread."""
    x = torch.zeros(1, 8, 8, 8).contiguous(memory_format=layout)
    x[:, :, 0, 0], x[:, :, -1, -1] = torch.inf, torch.nan
    y = host_kernels.on_built_kernels(lambda: upfirdn2d(x, f, padding=6))
    reached = torch.zeros(17, 17, dtype=torch.bool)
    reached[3:7, 3:7] = reached[10:14, 10:14] = True
    assert torch.isfinite(y[:, :, ~reached]).all() and not y[:, :, ~reached].any()
    assert not torch.isfinite(y[:, :, reached]).any()


@needs_compiler
@pytest.mark.usefixtures("compiled")
def test_bias_act_on_views():
    """Strided, expanded and misaligned tensors, and gradients in another layout than the activations."""
    base = torch.randn(2, 4, 6, 8)
    for x in (base[:, :, ::2], base[:, :1].expand(2, 4, 6, 8), base.transpose(1, 3), base.flatten()[1:]):
        b = torch.randn(x.shape[1 if x.ndim > 1 else 0])
        dim = min(1, x.ndim - 1)
        expected = bias_act(x, b, dim=dim, act="lrelu")
        with host_kernels.on_host():
            assert_close(bias_act(x, b, dim=dim, act="lrelu"), expected)
    for b in (torch.randn(8)[::2], torch.randn(1).expand(4)):
        expected = bias_act(base, b, act="lrelu")
        with host_kernels.on_host():
            assert_close(bias_act(base, b, act="lrelu"), expected)
    x = base.contiguous(memory_format=torch.channels_last).requires_grad_()
    expected = torch.autograd.grad(bias_act(x, act="swish"), x, base)[0]
    with host_kernels.on_host():
        assert_close(torch.autograd.grad(bias_act(x, act="swish"), x, base)[0], expected)


class Pretended:
    """The end of a tensor that is too large to have: an address before the memory that its last elements are in."""

    def __init__(self, tensor, elements):
        self.tensor, self.elements = tensor, elements

    def data_ptr(self):
        end = self.tensor.data_ptr() + self.tensor.nbytes
        return end - self.elements * self.tensor.element_size()


@needs_compiler
@pytest.mark.parametrize("size", [2**31 - 4, 2**31, 2**33 + 4])
def test_bias_act_counts_beyond_32_bits(size):
    launch = bias_act_kernel.plan(0, torch.float32, size, (3, 5, False), True, "linear", 0.0, 1.0, None)
    assert dict(launch.kernel.macros)["INDEX"] == ("Index32" if size < 2**31 else "Index64")
    x, y, b = torch.randn(4096), torch.zeros(4096), torch.tensor([10.0, 20.0, 30.0])
    last = range(launch.blocks - 1, launch.blocks)
    host_kernels.execute(launch, [Pretended(y, size), Pretended(x, size), None, None, b], last)
    first = 256 * 4 * 2 * (launch.blocks - 1)
    positions = torch.arange(size - 4096, size)
    expected = (x + b[positions // 5 % 3]) * (positions >= first)
    assert torch.equal(y, expected) and expected.any()


@needs_compiler
@pytest.mark.parametrize("f", [OUTER, LONG, LARGE])
@pytest.mark.parametrize("channels", [1, 32])
def test_upfirdn2d_counts_beyond_32_bits(f, channels):
    """The last images of a batch of more than 2^31 elements."""
    few, many = 16, 2**31 // (16 * 16 * channels) + 64
    layout = torch.contiguous_format if channels == 1 else torch.channels_last
    x = torch.randn(few, channels, 16, 16).contiguous(memory_format=layout)
    expected = upfirdn2d(x, f, padding=6)
    y = torch.full_like(expected, torch.nan)
    work = upfirdn2d_plan.resampling(x, f, y, (1, 1), (1, 1), (6, 6, 6, 6), False, 1.0)
    launch = upfirdn2d_plan.plan(replace(work, images=many))
    tensors = [Pretended(y, y.numel() // few * many), Pretended(x, x.numel() // few * many), f]
    host_kernels.execute(launch, tensors, range(launch.blocks - 1, launch.blocks))
    written = ~y.isnan()
    assert written[-1, -1, -1, -1] and not written.all()
    assert_close(y[written], expected[written])


def test_a_grid_has_a_limit():
    with pytest.raises(AssertionError, match="blocks"):
        bias_act_kernel.plan(0, torch.float32, 2**50, None, True, "linear", 0.0, 1.0, None)


def test_alignment():
    x = torch.zeros(64)
    assert [alignment(x), alignment(x, None, x[2:]), alignment(x[1:], x)] == [16, 8, 4]


@needs_compiler
@pytest.mark.usefixtures("compiled")
def test_operators_keep_the_rules_of_torch():
    """Schema, shapes without data, and derivatives, as torch checks them."""
    x, b = torch.randn(2, 3, 4, 4, requires_grad=True), torch.randn(3, requires_grad=True)
    ops = torch.ops.qc_stylegan
    samples = {
        ops.bias_act: (x, b, 1, "swish", 0.0, 1.4, None),
        ops.bias_act_slope: (x, x.detach(), b.detach(), 1, "swish", 0.0, 1.4, None, False),
        ops.bias_act_curvature: (x.detach(), x.detach(), x.detach(), b.detach(), 1, "swish", 0.0, 1.4, None),
        ops.upfirdn2d: (x, OUTER, (2, 2), (1, 1), (2, 1, 2, 1), False, 4.0),
    }
    with host_kernels.on_host():
        for op, arguments in samples.items():
            for layout in (torch.contiguous_format, torch.channels_last):
                first = arguments[0].detach().contiguous(memory_format=layout)
                first.requires_grad_(arguments[0].requires_grad)
                torch.library.opcheck(op, (first, *arguments[1:]))


@needs_compiler
@pytest.mark.usefixtures("compiled")
def test_operators_stay_in_a_compiled_graph():
    """One graph, without breaks; whether kernels can be had is asked while it is made."""

    def layer(x, b):
        return upfirdn2d(bias_act(x, b, act="lrelu", clamp=2.0), OUTER, up=2, padding=(2, 1, 2, 1), gain=4)

    x, b = torch.randn(2, 3, 8, 8), torch.randn(3)
    expected = layer(x, b)
    graphs = []

    def backend(graph, inputs):
        graphs.append([node.target for node in graph.graph.nodes if node.op == "call_function"])
        return graph.forward

    ready = operators._ready
    with host_kernels.on_host() as patch:
        patch.setattr(operators, "_ready", ready)
        patch.setattr(operators, "cause", lambda device: "")
        try:
            assert_close(torch.compile(layer, backend=backend, fullgraph=True)(x, b), expected)
            x.requires_grad_()
            y = torch.compile(layer, backend="aot_eager", fullgraph=True)(x, b)
            (dx,) = torch.autograd.grad(y.sum(), x)
        finally:
            operators._is_available.cache_clear()
    assert [str(target) for target in graphs[0]] == ["qc_stylegan.bias_act", "qc_stylegan.upfirdn2d"]
    assert_close(dx, torch.autograd.grad(layer(x, b).sum(), x)[0])


@needs_compiler
def test_a_training_step_has_the_same_gradients(run_files):
    """In every phase, as `test_step_gpu.py` asks of a GPU."""
    _, base = run_files
    subjects = [test_step_gpu.new_trainer(base, torch.device("cpu"), augment={"mode": "none"}) for _ in range(2)]
    expected = test_step_gpu.gradients_by_phase(subjects[0])
    with host_kernels.on_host():
        actual = test_step_gpu.gradients_by_phase(subjects[1])
    test_step_gpu.assert_same_gradients(actual, expected, rtol=1e-3)


def test_disabled_is_the_torch_path():
    x = torch.randn(2, 3, 4)
    with host_kernels.on_host():
        assert operators.serve(x) and not operators.serve(x.double())
        with operators.disabled():
            assert not operators.serve(x)
        assert operators.serve(x)
    assert not operators.serve(x)


def some_of_each(kernels):
    """Return kernels that have all values of all macros among them, each next one the most of what is missing."""
    values = {kernel: {(kernel.name, *macro) for macro in kernel.macros} for kernel in kernels}
    missing, chosen = set().union(*values.values()), []
    while missing:
        chosen.append(max(kernels, key=lambda kernel: len(values[kernel] & missing)))
        missing -= values[chosen[-1]]
    return chosen


@needs_nvrtc
def test_every_kernel_compiles(used_kernels, tmp_path, monkeypatch):
    """For the device itself, an older one, and as PTX; so many that every value of every macro of a kernel is there."""
    monkeypatch.setenv("QC_STYLEGAN_CACHE", str(tmp_path))
    for kernel in some_of_each(used_kernels):
        assert compile_kernel(kernel, "sm_90")[:4] == b"\x7fELF"
    for name in {kernel.name for kernel in used_kernels}:
        kernel = next(each for each in used_kernels if each.name == name and dict(each.macros)["TYPE"] == "BFloat16")
        assert compile_kernel(kernel, "sm_80")[:4] == b"\x7fELF"
        assert b".target sm_75" in compile_kernel(kernel, "compute_75")


def test_target_follows_the_device():
    known = [75, 80, 90, 100]
    assert compiler.target((9, 0), known) == "sm_90"
    assert compiler.target((8, 6), known) == "compute_80"
    assert compiler.target((15, 3), known) == "compute_100"


@needs_nvrtc
def test_a_device_can_be_too_old():
    with pytest.raises(KernelError, match="compiles for sm_75 and newer, the device is sm_60"):
        compiler.target((6, 0), [75, 80])


@needs_nvrtc
def test_a_compiler_error_names_the_line():
    with pytest.raises(KernelError, match=r"upfirdn2d_any\.cu does not compile: .*error: "):
        compile_kernel(Kernel("upfirdn2d_any", (("TYPE", "Float7"),)), "sm_90")


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """A compiler that counts its calls, and an empty cache."""
    calls = []

    def compile_one(source, name, options):
        calls.append(name)
        return b"code of " + name.encode()

    monkeypatch.setenv("QC_STYLEGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(compiler, "version", lambda: "13.0")
    monkeypatch.setattr(compiler, "_compile", compile_one)
    return calls


def test_what_is_compiled_is_kept(counted, monkeypatch):
    for _ in range(2):
        assert compile_kernel(FLAT, "sm_90") == b"code of upfirdn2d_any.cu"
    assert len(counted) == 1
    compile_kernel(FLAT, "sm_80")
    compile_kernel(Kernel("upfirdn2d_any", (("TYPE", "Float16"),)), "sm_90")
    assert len(counted) == 3
    monkeypatch.setattr(compiler, "version", lambda: "13.1")
    compile_kernel(FLAT, "sm_90")
    assert len(counted) == 4 and len(list(cache.folder().iterdir())) == 4


@pytest.mark.parametrize("damage", [lambda c: c[:-1], lambda c: b"", lambda c: c[:40] + b"x" + c[41:]])
def test_a_damaged_entry_is_made_anew(counted, damage):
    code = compile_kernel(FLAT, "sm_90")
    (path,) = cache.folder().iterdir()
    path.write_bytes(damage(path.read_bytes()))
    assert compile_kernel(FLAT, "sm_90") == code and len(counted) == 2
    assert compile_kernel(FLAT, "sm_90") == code and len(counted) == 2


def test_without_a_place_for_the_cache(counted, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("QC_STYLEGAN_CACHE", str(tmp_path / "file"))
    assert compile_kernel(FLAT, "sm_90") == compile_kernel(FLAT, "sm_90") and len(counted) == 2


def _race(folder, start, results):
    os.environ["QC_STYLEGAN_CACHE"] = folder
    path = cache.entry_path("race", "source", [], "13.0")
    code = bytes(range(256)) * 4096
    start.wait()
    for _ in range(20):
        cache.write_entry(path, code)
        results.put(cache.read_entry(path) == code)


def test_eight_processes_at_once(tmp_path):
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(8), context.Queue()
    workers = [context.Process(target=_race, args=(str(tmp_path), start, results)) for _ in range(8)]
    for worker in workers:
        worker.start()
    assert all(results.get(timeout=60) for _ in range(160))
    for worker in workers:
        worker.join()
    assert len(list((tmp_path / "kernels").iterdir())) == 1


@pytest.fixture
def pretended_gpu(monkeypatch):
    """The CPU as a CUDA device of capability 9.0, as far as the choice of the path goes."""
    monkeypatch.setattr(operators, "DEVICE_TYPE", "cpu")
    monkeypatch.setattr(operators, "_is_available", functools.cache(operators._is_available.__wrapped__))
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(
        kernel_driver, "load", lambda kernel, device: compile_kernel(kernel, compiler.target((9, 0), [90]))
    )


def failing(sentence):
    def fail(*arguments):
        raise KernelError(sentence)

    return fail


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        ("_nvrtc", "NVRTC is not found; install nvidia-cuda-nvrtc"),
        ("_compile", "bias_act.cu does not compile: error: no such type"),
    ],
)
def test_without_kernels_torch_runs_and_says_so_once(pretended_gpu, tmp_path, monkeypatch, caplog, function, sentence):
    monkeypatch.setenv("QC_STYLEGAN_CACHE", str(tmp_path))
    monkeypatch.setattr(compiler, function, failing(sentence))
    if function == "_compile":
        monkeypatch.setattr(compiler, "version", lambda: "13.0")
    x, b = torch.randn(2, 3, 4, 4), torch.randn(3)
    with operators.disabled():
        expected = bias_act(x, b, act="lrelu"), upfirdn2d(x, OUTER, up=2)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert torch.equal(bias_act(x, b, act="lrelu"), expected[0])
            assert torch.equal(upfirdn2d(x, OUTER, up=2), expected[1])
    assert [record.getMessage() for record in caplog.records] == [
        f"no CUDA kernels: {sentence}; plain torch runs instead, slower"
    ]


def test_kernels_can_be_switched_off(pretended_gpu, monkeypatch, caplog):
    monkeypatch.setenv(operators.SWITCH, "0")
    assert not operators.serve(torch.ones(1)) and not caplog.records


class Driver:
    """Records what is asked of the CUDA driver; `broken`: the function that fails."""

    CUresult = types.SimpleNamespace(CUDA_SUCCESS=types.SimpleNamespace(name="CUDA_SUCCESS"))

    def __init__(self, broken=""):
        self.calls, self.broken = [], broken

    def __getattr__(self, function):
        def call(*arguments):
            self.calls.append((function, arguments))
            if function == self.broken:
                return (types.SimpleNamespace(name="CUDA_ERROR_INVALID_IMAGE"),)
            return self.CUresult.CUDA_SUCCESS, 0 if function == "cuCtxGetCurrent" else 7

        return call


@pytest.fixture
def driver(counted, monkeypatch):
    """Return the function that installs a recording driver in place of a GPU's."""

    def install(broken=""):
        driver = Driver(broken)
        monkeypatch.setattr(kernel_driver, "_driver", lambda: driver)
        monkeypatch.setattr(kernel_driver, "load", kernel_driver.load.__wrapped__)
        bias_act_kernel.plan.cache_clear()  # launches keep the handle of their kernel
        monkeypatch.setattr(compiler, "_call", lambda function: ([90],))
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
        monkeypatch.setattr(torch.cuda, "device", lambda device: operators.disabled())
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: types.SimpleNamespace(cuda_stream=99))
        return driver

    return install


def test_a_launch_as_the_driver_sees_it(driver):
    recorded = driver()
    x, b = torch.randn(2, 3, 4), torch.randn(3)
    launch = bias_act_kernel.plan(0, x.dtype, x.numel(), (3, 4, True), True, "lrelu", 0.25, 2.0, None)
    operators.execute(launch, [x, x, None, None, b])
    calls = dict(recorded.calls)
    assert calls["cuModuleLoadData"] == (b"code of bias_act.cu",)
    assert calls["cuModuleGetFunction"] == (7, b"bias_act")
    assert calls["cuCtxSetCurrent"] == (7,)  # torch's context, in a thread that had none
    function, *grid, shared, stream, (values, kinds), extra = calls["cuLaunchKernel"]
    assert (function, grid, shared, stream, extra) == (7, [1, 1, 1, 256, 1, 1], 0, 99, 0)
    assert values == (x.data_ptr(), x.data_ptr(), 0, 0, b.data_ptr(), 24, 4, 3, 0.25, 2.0, 0.0)
    assert [kind.__name__ for kind in kinds] == ["c_void_p"] * 5 + ["c_long"] * 3 + ["c_float"] * 3
    operators.execute(launch, [x, x, None, None, b])
    names = [name for name, _ in recorded.calls]
    assert names.count("cuModuleLoadData") == 1 and names.count("cuLaunchKernel") == 2


@pytest.mark.parametrize("broken", ["cuModuleLoadData", "cuLaunchKernel"])
def test_a_launch_that_fails_says_what_to_do(driver, broken):
    driver(broken)
    launch = bias_act_kernel.plan(0, torch.float32, 4, None, True, "relu", 0.0, 1.0, None)
    cure = f"^bias_act: {broken} answers CUDA_ERROR_INVALID_IMAGE; set QC_STYLEGAN_KERNELS=0 to run without kernels$"
    with pytest.raises(KernelError, match=cure):
        operators.execute(launch, [torch.ones(4), torch.ones(4), None, None, None])
