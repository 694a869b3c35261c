"""The house: which package may import which, what reads files, and the oldest Python that the source is for."""

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.rooms import drawing, tree_of
from dnnlib.errors import UserError
from dnnlib.registry import Registry

ROOT = Path(__file__).parents[1]
# A package may import those of lower rank only; what has the same rank stands side by side.
FLOORS = [
    ["dnnlib"],
    ["torch_utils"],
    ["degradations"],
    ["images"],
    ["networks", "metrics"],
    ["generation"],
    ["training"],
    ["inversion"],
    ["evaluation", "exchange"],
    ["web"],
]
RANKS = {name: rank for rank, names in enumerate(FLOORS) for name in names}
SCRIPTS = len(FLOORS)
RANKS["qc_stylegan"] = SCRIPTS + 1  # the scripts as one program, and as a library
# What the light packages may import from outside; the others may import anything that is not ours.
OUTSIDE = {
    "dnnlib": {"click", "huggingface_hub", "numpy", "tqdm"},
    "degradations": {"click", "cv2", "numpy"},
}
# Degradations for devices are torch's; nothing else in `degradations` may import them.
BATCHED = "degradations.batched"

PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name in RANKS)
MODULES = [path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py"))] + sorted(ROOT.glob("*.py"))
PROGRAM = MODULES + sorted((ROOT / "benchmarks").rglob("*.py"))
SOURCES = PROGRAM + sorted((ROOT / "tests").rglob("*.py"))
SCRIPT_NAMES = {path.stem for path in ROOT.glob("*.py")}


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def found_in(paths, search):
    """Return what `search(path)` finds, by the name of the file, where it finds anything."""
    return {name_of(path): found for path in paths if (found := search(path))}


def imports_of(tree):
    """Return the dotted names that a module imports anywhere, also within functions."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno} imports relatively"
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rank(top):
    return SCRIPTS if top in SCRIPT_NAMES else RANKS.get(top)


def forbidden_imports(module, names):
    """Return those of the imported dotted names that a module, by its dotted name, may not have.

    A `__main__` is a command, and may use what the scripts may.
    """
    owner = module.partition(".")[0]
    if module.endswith(".__main__"):
        return []
    is_batched = module.startswith(BATCHED)
    bad = []
    for name in sorted(names):
        top = name.partition(".")[0]
        if rank(top) is not None:
            bad += [name] if top != owner and rank(top) >= rank(owner) else []
            bad += [name] if owner == "degradations" and top == "torch_utils" and not is_batched else []
            bad += [name] if name.startswith(BATCHED) and owner == "degradations" and not is_batched else []
        elif owner in OUTSIDE and top not in OUTSIDE[owner] | sys.stdlib_module_names and not is_batched:
            bad.append(name)
    return bad


def module_of(path):
    return name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def test_imports_go_one_way():
    assert found_in(MODULES, lambda path: forbidden_imports(module_of(path), imports_of(tree_of(path)))) == {}


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("dnnlib.files", "import torch"),
        ("dnnlib.files", "from safetensors import safe_open"),
        ("dnnlib.files", "from torch_utils import stats"),
        ("torch_utils.stats", "def f():\n    from training.config import TrainConfig"),
        ("torch_utils.stats", "import metrics"),
        ("degradations.recipe", "import torch.nn"),
        ("degradations.recipe", "from torch_utils.seeding import BatchRandom"),
        ("degradations.recipe", "from degradations.batched import degrade"),
        ("degradations.batched.blur", "import images"),
        ("images.files", "import networks"),
        ("networks.files", "import metrics"),
        ("metrics.metric", "import networks.files"),
        ("metrics.metric", "import generation"),
        ("generation.sampling", "import training.loop"),
        ("training.loop", "import inversion"),
        ("training.loop", "import train"),
        ("inversion.inverter", "import train"),
        ("inversion.inverter", "import evaluation.job"),
        ("evaluation.job", "import exchange.hub"),
        ("exchange.hub", "import evaluation"),
        ("evaluation.job", "import calc_metrics"),
        ("exchange.hub", "import web.studio"),
        ("web.studio", "import app"),
        ("train", "import dataset_tool"),
        ("train", "import qc_stylegan"),
        ("inversion.inverter", "import qc_stylegan.program"),
    ],
)
def test_the_import_rule_sees_what_is_forbidden(module, statement):
    assert forbidden_imports(module, imports_of(ast.parse(statement)))


def test_training_never_imports_metrics():
    for path in MODULES:
        if path.is_relative_to(ROOT / "training"):
            tops = {name.partition(".")[0] for name in imports_of(tree_of(path))}
            assert "metrics" not in tops, name_of(path)


def test_dnnlib_and_degradations_load_no_torch():
    """Not even by way of what they import."""
    modules = [module_of(path) for path in MODULES]
    apart = (BATCHED, "__main__")
    light = [name for name in modules if name.startswith(("dnnlib.", "degradations."))]
    light = [name for name in light if not any(part in name for part in apart)]
    code = f"import sys, {', '.join(light)}; sys.exit(any(name.split('.')[0] == 'torch' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0


PICKLING = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "pandas"}


def dotted(node):
    """Return `a.b.c` of a name or attribute, else the empty string."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def unpickling(tree):
    """Return what a module does that could run the code in a file."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in PICKLING | {"torch.serialization"}:
            found.append(f"from {node.module} import ...")
        elif isinstance(node, ast.ClassDef) and any(dotted(base).endswith("Unpickler") for base in node.bases):
            if not any(isinstance(item, ast.FunctionDef) and item.name == "find_class" for item in node.body):
                found.append(f"class {node.name} without find_class")
        elif isinstance(node, ast.Call):
            name, keywords = dotted(node.func), {word.arg: word.value for word in node.keywords}
            module, _, function = name.rpartition(".")
            if module in PICKLING and function in ("load", "loads", "open", "Unpickler", "read_pickle"):
                found.append(name)
            elif name == "torch.load" and not is_true(keywords.get("weights_only")):
                found.append("torch.load without weights_only=True")
            elif is_true(keywords.get("allow_pickle")) or name in ("eval", "exec", "yaml.load", "torch.hub.load"):
                found.append(name)
    return found


def is_true(node):
    return isinstance(node, ast.Constant) and node.value is True


def test_nothing_runs_code_of_a_file():
    assert found_in(PROGRAM, lambda path: unpickling(tree_of(path))) == {}


@pytest.mark.parametrize(
    "code",
    [
        "import pickle\npickle.load(file)",
        "import pickle\npickle.Unpickler(file).load()",
        "from pickle import loads",
        "import pickle\nclass Reader(pickle.Unpickler):\n    pass",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=trusted)",
        "np.load(path, allow_pickle=True)",
        "eval(text)",
    ],
)
def test_the_search_sees_what_unpickles(code):
    assert unpickling(ast.parse(code))


def test_the_search_lets_restricted_readers_pass():
    restricted = "class Reader(pickle.Unpickler):\n    def find_class(self, module, name):\n        raise ValueError"
    assert unpickling(ast.parse(f"torch.load(path, weights_only=True)\n{restricted}")) == []


# What reads files of others -> the files that may call it: there they are bounded, checked, and every error a sentence.
READERS = {
    "PIL.Image.open": ["images/decoding.py"],
    "pyspng.load": ["images/decoding.py"],
    "cv2.imread": [],
    "cv2.imdecode": ["degradations/primitives/jpeg.py"],  # what it has encoded
    "cv2.VideoCapture": ["images/video/writer.py"],  # what it has written
    "av.open": ["images/video/reader.py"],
    "numpy.load": ["dnnlib/arrays.py"],
    "numpy.loadtxt": [],
    "numpy.genfromtxt": [],
    "numpy.fromfile": [],
    "scipy.io.loadmat": ["metrics/niqe/pristine.py"],
    "torch.load": ["torch_utils/checkpoint.py"],
    "torch.jit.load": ["torch_utils/untrusted/torchscript.py"],
    "safetensors.safe_open": ["torch_utils/checkpoint.py"],
    "safetensors.torch.load_file": ["torch_utils/untrusted/state_dicts.py"],
    "safetensors.torch.load": [],
    "lmdb.open": [],
    "tarfile.open": ["images/datasets/archives.py"],
    "gzip.open": ["images/datasets/archives.py"],
    "gzip.decompress": [],
    "json.load": [],
    "shelve.open": [],
}
READERS |= dict.fromkeys((f"{module}.{name}" for module in PICKLING for name in ("load", "loads", "Unpickler")), [])


def full_names(tree):
    """Return dotted names with what they stand for, by the imports of a module: `np` -> `numpy`."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name.partition(".")[0]: alias.asname and alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def readers_in(tree):
    """Return the names in READERS that a module mentions, whatever it calls them."""
    names, found = full_names(tree), set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Attribute, ast.Name)):
            first, _, rest = dotted(node).partition(".")
            found.add(f"{names.get(first) or first}{'.' * bool(rest)}{rest}")
    return found & READERS.keys()


def test_files_of_others_are_read_in_one_place():
    def misplaced(path):
        return [name for name in sorted(readers_in(tree_of(path))) if name_of(path) not in READERS[name]]

    assert found_in(MODULES, misplaced) == {}


@pytest.mark.parametrize(
    "code",
    [
        "import PIL.Image\nPIL.Image.open(file)",
        "from PIL import Image\nImage.open(file)",
        "from PIL import Image as I\nread = I.open",
        "import numpy as np\nnp.load(path, allow_pickle=False)",
        "from numpy import load\nload(path)",
        "import torch\ntorch.load(path, weights_only=True)",
        "import pickle\nclass Reader(pickle.Unpickler):\n    def find_class(self, module, name): ...",
        "from safetensors.torch import load_file\nload_file(path)",
        "def f():\n    import lmdb\n    lmdb.open(path)",
    ],
)
def test_the_search_sees_readers(code):
    assert readers_in(ast.parse(code))


def test_the_places_of_readers_still_read():
    for name, places in READERS.items():
        for place in places:
            assert name in readers_in(tree_of(ROOT / place)), f"{place} calls {name} no more"


def test_syntax_is_that_of_python_3_10():
    for path in SOURCES:
        tree_of(path)  # else a SyntaxError, with file and line


def registries():
    """Yield (package, kind) of each `Registry(...)` in the source."""
    for path in MODULES:
        if "Registry(" in path.read_text(encoding="utf-8"):
            for node in ast.walk(tree_of(path)):
                if isinstance(node, ast.Call) and dotted(node.func) == "Registry":
                    yield tuple(ast.literal_eval(argument) for argument in node.args)


REGISTRIES = sorted(set(registries()))


def test_registries_are_found():
    assert {package for package, _ in REGISTRIES} >= {"degradations.primitives", "degradations.recipes"}


@pytest.mark.parametrize(("package", "kind"), REGISTRIES)
def test_registry_imports_all_it_names(package, kind):
    registry = Registry(package, kind)
    names = registry.names()
    assert names == sorted(names) and names
    for name in names:
        assert registry.get(name).__name__ == f"{package}.{name}"
    with pytest.raises(UserError) as caught:
        registry.get(names[0] + "x")
    assert str(caught.value).startswith(f"unknown {kind} '{names[0]}x'; did you mean '{names[0]}'?")


def test_a_new_file_is_a_new_name(tmp_path, monkeypatch):
    package = tmp_path / "house_of_shapes"
    package.mkdir()
    for name in ("__init__", "square", "circle"):
        (package / f"{name}.py").write_text(f"NAME = {name!r}\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry("house_of_shapes", "shape")
    assert registry.names() == ["circle", "square"]
    assert registry.get("circle").NAME == "circle"
    (package / "star.py").write_text("NAME = 'star'\n")
    assert registry.names() == ["circle", "square", "star"]
    with pytest.raises(UserError, match=r"^unknown shape 'other'; known: circle, square, star$"):
        registry.get("other")


def test_no_room_is_too_full():
    """No folder has more than sixteen files, tests included; a family among them has a folder of its own."""
    counts = Counter(path.parent for path in SOURCES if path.name != "__init__.py")
    assert {name_of(folder): count for folder, count in counts.items() if count > 16} == {}


def test_the_drawing_of_the_rooms_is_that_of_the_source():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert drawing(ROOT) in page, "run `python -m benchmarks.rooms --write`"


def test_files_named_in_the_documentation_exist():
    """Paths of source files in backticks, but for those with a NAME to be filled in."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
    missing = set()
    for page in pages:
        for path in re.findall(r"`((?:[a-z_0-9]+/)+[A-Za-z_0-9]+\.(?:py|cu|md))`", page.read_text(encoding="utf-8")):
            if "NAME" not in path and not (ROOT / path).exists():
                missing.add(f"{page.name}: {path}")
    assert missing == set()


def test_modules_named_as_commands_exist():
    """`python -m NAME` in the documentation and the source."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*.md"), *MODULES]
    command = re.compile(r"python -m ([a-z_0-9.]*[a-z_0-9])")
    named = {name for page in pages for name in command.findall(page.read_text("utf-8"))}
    ours = {name for name in named if name.partition(".")[0] in [*RANKS, "benchmarks"]}
    assert {"exchange.hub", "benchmarks.bits"} <= ours
    paths = {name: ROOT / name.replace(".", "/") for name in ours}
    assert [name for name, path in paths.items() if not (path.is_dir() or path.with_suffix(".py").exists())] == []
