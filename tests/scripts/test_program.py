"""The program `qc-stylegan`: all commands, what their help imports, and what stands in pyproject.toml about them."""

import re
import subprocess
import sys
import zlib
from pathlib import Path

import click
import pytest
from packaging.requirements import Requirement

from qc_stylegan import place
from qc_stylegan.program import COMMANDS, program
from tests.support.commands import all_commands

tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")
ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HEAVY = ("torch", "cv2", "scipy", "av", "tensorboard", "huggingface_hub", "onnx")
# A process of its own, in which nothing is imported before.
FRESH = """
import contextlib, io, sys
sys.path.insert(0, ".")
from click.testing import CliRunner
from tests.support.commands import all_commands
from qc_stylegan.program import program
for path, _ in all_commands(program):
    for arguments in (["--help"], ["--no-such-flag"]):
        result = CliRunner().invoke(program, [*path, *arguments])
        assert result.exit_code == (0 if arguments == ["--help"] else 2), (path, result.output)
assert CliRunner().invoke(program, ["no-such-command"]).exit_code == 2
print(*(name for name in sys.argv[1:] if name in sys.modules))
"""


ALL = {" ".join(path): command for path, command in all_commands(program)}


def fresh(code, *arguments, cwd=ROOT):
    """Run code in a fresh interpreter; return what it prints."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_and_wrong_use_import_nothing_heavy():
    # `degradations` degrades by OpenCV, which its package imports.
    assert set(fresh(FRESH, *HEAVY).split()) <= {"cv2"}


def test_every_script_is_a_command_of_the_program():
    modules = {target.partition(":")[0] for target, _ in COMMANDS.values()}
    assert set(place.SCRIPTS) - {"invert"} <= modules
    assert {name for name in COMMANDS if name in ("restore", "train", "metrics", "dataset", "hub")} == {
        *("restore", "train", "metrics", "dataset", "hub")
    }


@pytest.mark.parametrize("name", ALL)
def test_long_helps_have_sections_for_all_options(name):
    """Commands of a kind share sections, so that one need not have all that these name."""
    command = ALL[name]
    named = [option for names in command.sections.values() for option in names]
    own = {option.name for option in command.params if isinstance(option, click.Option)} - {"version"}
    assert len(named) == len(set(named))
    assert set(named) <= {option.name for other in ALL.values() for option in other.params}
    assert own <= {*named} if command.sections else len(own) <= 14


def test_every_room_and_script_has_its_place_in_the_wheel():
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks", "qc_stylegan"}
    scripts = {path.stem for path in ROOT.glob("*.py")}
    assert (set(place.ROOMS), set(place.SCRIPTS)) == (rooms, scripts)
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert set(wheel["only-include"]) == {*rooms, "pretrained", "qc_stylegan"}
    assert wheel["sources"] == {name: f"qc_stylegan/tree/{name}" for name in {*rooms, "pretrained"}}
    assert wheel["force-include"] == {f"{name}.py": f"qc_stylegan/tree/{name}.py" for name in scripts}


def requirements(name):
    """Return the pinned versions of a file of requirements by package."""
    pins = {}
    for line in (ROOT / name).read_text().splitlines():
        line = line.partition("#")[0].strip()
        if line and not line.startswith("-r"):
            requirement = Requirement(line)
            [clause] = [str(part) for part in requirement.specifier][:1]
            pins.setdefault(requirement.name.lower(), []).append(re.sub("^[=>~]+", "", clause.split(",")[0]))
    return pins


@pytest.mark.parametrize(
    ("file", "declared"),
    [
        ("requirements.txt", PROJECT["project"]["dependencies"]),
        ("requirements-export.txt", PROJECT["project"]["optional-dependencies"]["export"]),
    ],
)
def test_requirements_are_those_of_the_project(file, declared):
    pins, wanted = requirements(file), {Requirement(text).name.lower(): Requirement(text) for text in declared}
    assert set(pins) == set(wanted)
    for name, versions in pins.items():
        assert all(wanted[name].specifier.contains(version) for version in versions), (name, versions)


def test_extras_are_there():
    extras = PROJECT["project"]["optional-dependencies"]
    assert {"export", "heic", "dev"} <= set(extras)
    known = {Requirement(text).name.lower() for texts in extras.values() for text in texts}
    assert {name for name in requirements("requirements-dev.txt") if not name.startswith(("nvidia", "cuda"))} <= known


def test_a_name_that_is_taken_is_said(tmp_path):
    (tmp_path / "metrics.py").write_text("")
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; import metrics\ntry: import qc_stylegan\n"
    message = fresh(code + "except ImportError as error: print(error)")
    assert message.startswith(f"qc_stylegan needs the name metrics, which {tmp_path / 'metrics.py'} has taken")
    assert "import qc_stylegan before it" in message


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return a folder in which the wheel lies as in site-packages."""
    wheel_builder = pytest.importorskip("hatchling.builders.wheel", reason="hatchling builds the wheel")
    import zipfile

    folder = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zlib, "Z_DEFAULT_COMPRESSION", zlib.Z_NO_COMPRESSION)  # which takes seconds
        [path] = wheel_builder.WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_one_name_and_runs_anywhere(installed, tmp_path):
    tops = {path.name.partition("-")[0] for path in installed.iterdir()}
    assert tops == {"qc_stylegan"}
    code = f"import sys; sys.path[0] = {str(installed)!r}; from qc_stylegan.program import main; main()"
    fresh(code, "generate", "--network=cats64", "--seeds=3", "--outdir=made", cwd=tmp_path)
    assert Path(tmp_path, "made", "seed0003.png").is_file()
    for file in ("torch_utils/cuda/bias_act.cu", "metrics/embedded/cifar10.safetensors", "dnnlib/version.py"):
        assert (installed / "qc_stylegan" / "tree" / file).is_file()
