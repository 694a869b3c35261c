"""Threads of OpenMP sleep while they wait, unless the user says otherwise; torch reads that when it is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRINT = "import os, sys, dnnlib; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"


@pytest.mark.parametrize(("given", "found"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_the_policy_stands_before_torch_is_imported(given, found):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {} if given is None else {"OMP_WAIT_POLICY": given}
    done = subprocess.run([sys.executable, "-c", PRINT], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == [found, "False"], done.stderr


@pytest.mark.parametrize("script", ["train", "generate", "invert", "calc_metrics", "dataset_tool", "app"])
def test_scripts_import_it_before_torch(script):
    names = [
        line.split()[1] for line in (ROOT / f"{script}.py").read_text().splitlines() if line[:5] in ("from ", "impor")
    ]
    ours = next(index for index, name in enumerate(names) if name.startswith("dnnlib"))
    assert "torch" not in {name.partition(".")[0] for name in names[:ours]}
