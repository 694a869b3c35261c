"""What is said about kernels: the doctor's report and the benchmark of the ops."""

import json
import os
import platform

import pytest
import torch
from click.testing import CliRunner

from benchmarks import ops
from benchmarks.kernels import traffic
from benchmarks.training import launches
from tests.support import host_kernels
from tests.support.tolerance import assert_close
from torch_utils import doctor
from torch_utils.cuda import compiler
from torch_utils.cuda.compiler import KernelError
from torch_utils.ops import bias_act


def report(*flags):
    result = CliRunner().invoke(doctor.main, flags, catch_exceptions=False)
    assert result.exit_code == 0
    return {line[:22].strip(): line[22:] for line in result.output.splitlines()}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("QC_STYLEGAN_CACHE", str(tmp_path))


def test_doctor_names_what_is_missing(monkeypatch):
    def missing():
        raise KernelError("NVRTC is not found; install nvidia-cuda-nvrtc")

    monkeypatch.setattr(compiler, "_nvrtc", missing)
    lines = report()
    for name in ("NVRTC", "bias_act", "upfirdn2d_patch", "upfirdn2d_separable"):
        assert lines[name] == "NVRTC is not found; install nvidia-cuda-nvrtc"
    assert lines["ops on the CPU"] == "plain torch"


def test_doctor_names_the_machine_and_what_lies_ready(tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "lpips.pth").write_bytes(bytes(3 << 20))
    lines = report()
    assert lines["Python"].startswith(platform.python_version()) and lines["memory"].endswith(" GiB")
    assert f"of which this process may use {len(os.sched_getaffinity(0))}" in lines["processors"]
    assert "cats" in lines["networks"] and lines["cache, weights"] == f"{tmp_path / 'weights'}, 1 file, 3.0 MiB"
    assert lines["Hugging Face"]


def test_doctor_compiles_and_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(compiler, "version", lambda: "13.0")
    monkeypatch.setattr(compiler, "_compile", lambda source, name, options: b"code")
    assert report("--arch", "sm_80")["bias_act"].endswith("4 bytes")
    assert report()["kernel cache"] == f"{tmp_path / 'kernels'}, 4 entries"


@pytest.mark.parametrize("flag", ["--no-compile", "--compile"])
def test_ops_benchmark_on_the_cpu(tmp_path, flag, monkeypatch):
    monkeypatch.setattr(launches, "CALLS", 1)
    monkeypatch.setattr(ops.torch, "compile", lambda function, dynamic: function)
    path = tmp_path / "numbers.json"
    flags = ["--resolution=4", "--batch=1", "--channel-base=16", "--dtype=fp32", "--layout=nhwc", "--device=cpu"]
    result = CliRunner().invoke(ops.main, [*flags, flag, f"--json={path}"], catch_exceptions=False)
    assert result.exit_code == 0 and "torch path only" in result.output
    records = json.loads(path.read_text())["records"]
    assert {record["path"] for record in records} == {"torch", *(["compiled"] if flag == "--compile" else [])}
    assert {record["how"] for record in records} == {"clock"}
    moved = {record["op"]: record["bytes"] for record in records}
    assert moved["bias_act lrelu, 4 x 4x4"] == 2 * 4 * 16 * 4
    assert moved["bias_act lrelu backward, 4 x 4x4"] == 3 * 4 * 16 * 4
    assert moved["epilogue lrelu backward, 4 x 4x4"] == 4 * 4 * 16 * 4
    assert moved["upfirdn2d 4x4 up 2, 4 x 2x2"] == 4 * (4 + 16) * 4
    assert moved["upfirdn2d 4x4 after a convolution, 4 x 5x5"] == 4 * (25 + 16) * 4


def test_what_a_step_launches_and_moves(tmp_path, monkeypatch):
    """With kernels it is less, in every phase of the generator; without them none is counted."""
    monkeypatch.setattr(bias_act, "SMALLEST_FOR_KERNEL", 0)
    path = tmp_path / "numbers.json"
    flags = ["--preset=demo", "--resolution=16", "--batch=4", "--precision=fp32", "--mode=base", f"--json={path}"]
    result = CliRunner().invoke(traffic.main, flags, catch_exceptions=False)
    assert result.exit_code == 0 and "G_reg" in result.output
    records = {(each["phase"], each["kernels"]): each for each in json.loads(path.read_text())["records"]}
    for phase in ("G", "G_reg", "fakes"):
        plain, own = records[phase, False], records[phase, True]
        assert own["launches"] < plain["launches"] and own["bytes"] < plain["bytes"]
        assert plain["own"] == 0 < own["own"]


def test_traffic_counts_memory_once():
    x, f = torch.empty(4, 8, device="meta"), torch.empty(8, device="meta")
    with traffic.counted(with_kernels=True) as counts:
        y = x.t() + x.t()  # the same view twice: two arguments of 128 bytes
        x.mul_(f.expand(4, 8))  # 32 bytes of `f`, 128 of `x` once
        torch.empty_like(y)
    assert (counts.launches, counts.bytes) == (2, 3 * 128 + 160)


@pytest.mark.skipif(not host_kernels.COMPILER, reason="no C++ compiler")
def test_ops_benchmark_compares_paths_that_compute_the_same():
    """The operators are called as the ops call them, the derivative from the output."""
    cases = list(ops.cases(4, 64, 8, 2, torch.float32, "nhwc", torch.device("cpu")))
    with torch.no_grad():
        host_kernels.build(host_kernels.kernels_of(lambda: [case.kernel(*case.inputs) for case in cases]))
    with host_kernels.on_host():
        for case in cases:
            with torch.no_grad():
                actual, expected = case.kernel(*case.inputs), ops._without_kernels(case.plain)(*case.inputs)
            assert_close(actual, expected, what=case.name)
            assert launches.time_calls(case.kernel, case.inputs, torch.device("cpu")).bytes > 0
