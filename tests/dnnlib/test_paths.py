"""Paths on command lines: `~` is the home folder in every option of every command."""

import importlib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from dnnlib.flags import PATH, LocalPath
from dnnlib.parsing import integers
from dnnlib.remote.locations import NetworkFile

ROOT = Path(__file__).parents[2]
PLACES = ("*.py", "*/*.py", "*/*/*.py")
MAKERS = ("click.command", "click.group", "commands.command", "commands.group")
# Texts that are no paths, by the names of parameters. A new option of text is a path, or stands here.
NO_PATHS = {
    *(
        "ablation",
        "arch",
        "augpipe",
        "background",
        "backbone",
        "best",
        "commands",
        "crop",
        "degradation",
        "device",
        "device_name",
        "host",
        "layers",
        "log",
        "public_url",
        "shift",
        "size",
        "warp",
    ),
    *("licence", "metric", "metrics", "name", "names", "only", "overrides", "part", "perceptual", "preset_name"),
    *("preview_seeds", "primitive", "recipe", "seeds", "sha256", "subject", "texts", "title", "variant", "variants"),
    *("dest", "source"),  # of exchange.hub, where they are names of repositories
}
TITLED = {"pictures", "ablations", "others"}  # NAME=PATH, expanded where they are taken apart


def modules() -> Iterator[str]:
    for place in PLACES:
        for path in sorted(ROOT.glob(place)):
            parts = path.relative_to(ROOT).with_suffix("").parts
            source = path.read_text(encoding="utf-8")
            if parts[0] not in ("tests", "docs") and any(f"\n@{maker}(" in source for maker in MAKERS):
                yield ".".join(parts)


def options(command: click.Command) -> Iterator[click.Parameter]:
    for inner in getattr(command, "commands", {}).values():
        yield from options(inner)
    yield from command.params


@pytest.mark.parametrize("module", list(modules()))
def test_every_text_of_a_command_is_a_path_or_known_not_to_be_one(module):
    commands = [value for value in vars(importlib.import_module(module)).values() if isinstance(value, click.Command)]
    assert commands
    texts = {option.name for command in commands for option in options(command) if option.type is click.STRING} - {
        "align"
    }  # --no-align, which takes no text
    assert texts <= NO_PATHS | TITLED


@pytest.mark.parametrize(
    ("given", "is_expanded"), [("~/run", True), ("~", True), ("run/~", False), ("./~", False), ("drawn:8", False)]
)
def test_a_path_begins_at_home(monkeypatch, tmp_path, given, is_expanded):
    monkeypatch.setenv("HOME", str(tmp_path))
    taken = PATH.convert(given, None, None)
    assert taken == (given.replace("~", str(tmp_path)) if is_expanded else given)


def test_the_path_of_a_network_begins_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert NetworkFile().convert("~/network.safetensors", None, None) == str(tmp_path / "network.safetensors")


def test_a_command_gets_the_expanded_path(monkeypatch, tmp_path):
    @click.command()
    @click.option("--outdir", type=LocalPath())
    def command(outdir):
        click.echo(outdir)

    monkeypatch.setenv("HOME", str(tmp_path))
    assert CliRunner().invoke(command, ["--outdir=~/x"]).output == f"{tmp_path}/x\n"
    assert CliRunner().invoke(command, []).output == "\n"
    result = CliRunner().invoke(command, ["--outdir="])  # of a variable that is not set; it would mean this folder
    assert result.exit_code == 2 and "'--outdir': the path is empty; write one, or . for this folder" in result.output


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0 1 2", [0, 1, 2]), ("1 2-3", [1, 2, 3]), ("0, 2 - 4 ,7", [0, 2, 3, 4, 7]), (" 5\n6\t7 ", [5, 6, 7])],
)
def test_white_space_separates_numbers(text, numbers):
    assert integers(text) == numbers
