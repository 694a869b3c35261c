"""The examples of the documentation run, and show what they say."""

import doctest
import json
import os

import PIL.Image
import pytest

from inversion.encoders.backbones import resnet34
from inversion.quality.fit_quality import QualityOptions
from tests.support import small
from tests.support.runs import ROOT

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

pytestmark = pytest.mark.filterwarnings("ignore:the part that is used:UserWarning")


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch):
    monkeypatch.setattr("inversion.commands.building.QualityOptions", lambda: QualityOptions(steps=2))


@pytest.fixture(autouse=True)
def _deep_backbones(monkeypatch):
    """Build the encoder that comes with the program, whose backbone is not as shallow as those of tests."""
    monkeypatch.setattr(resnet34, "STAGES", small.STAGES_OF_THE_PAPER)


def test_the_examples_of_the_page_run(monkeypatch):
    monkeypatch.chdir(ROOT)
    result = doctest.testfile(os.fspath(ROOT / "docs" / "python.md"), module_relative=False, optionflags=OPTIONS)
    assert result.failed == 0 and result.attempted > 20


def test_the_cells_of_the_tour_run_and_show_images(monkeypatch):
    """Each cell is executed as a notebook does it: the value of its last line is what it shows."""
    monkeypatch.chdir(ROOT / "docs")
    cells = json.loads((ROOT / "docs" / "tour.ipynb").read_text())["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    namespace, shown = {}, []
    for source in sources:
        *lines, last = source.split("\n")
        exec("\n".join(lines if last.startswith("row(") else [*lines, last]), namespace)
        if last.startswith("row("):
            shown.append(eval(last, namespace))
    assert len(shown) == 7 and all(isinstance(image, PIL.Image.Image) for image in shown)
    assert all(not cell.get("outputs") for cell in cells), "outputs are not committed"
