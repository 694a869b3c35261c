"""What a GPU machine may lack: the commands that train, generate and measure there load without it."""

import subprocess
import sys

from tests.support.runs import ROOT

ABSENT = ["av", "huggingface_hub", "lmdb", "onnx", "onnxruntime", "pyspng", "ruff"]
COMMANDS = ["train", "generate", "dataset_tool", "calc_metrics", "torch_utils.doctor"]
BENCHMARKS = [f"benchmarks.{name}" for name in ("data", "generate", "gpu", "ops", "train_step")]
GPU_TESTS = ("degradations.test_batched", "torch_utils.test_kernels_gpu", "training.test_step_gpu")
TESTS = [f"tests.{name}" for name in GPU_TESTS]


def without(packages, code, *arguments):
    """Run code in a process that cannot import some packages."""
    blocked = f"import sys; sys.modules.update(dict.fromkeys({packages})); sys.path.insert(0, ''); {code}"
    return subprocess.run([sys.executable, "-c", blocked, *arguments], cwd=ROOT, capture_output=True, text=True)


def test_commands_load_without_optional_packages():
    done = without(ABSENT, f"import {', '.join([*COMMANDS, *BENCHMARKS, *TESTS])}")
    assert done.returncode == 0, done.stderr


def test_what_is_needed_is_missed():
    """The block works."""
    done = without(["numpy"], "import benchmarks.data")
    assert done.returncode != 0 and "numpy" in done.stderr


def test_images_are_drawn_without_optional_packages(tmp_path):
    """They are what the benchmark of the data reads where no data set is at hand."""
    path = tmp_path / "drawn.zip"
    command = "import runpy; runpy.run_path('dataset_tool.py', run_name='__main__')"
    done = without(ABSENT, command, "--input=drawn:2", "--resolution=16", f"--output={path}")
    assert done.returncode == 0 and path.stat().st_size > 0, done.stderr
