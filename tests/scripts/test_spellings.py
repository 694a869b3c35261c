"""One spelling for one thing in all commands; former ones are taken, with a note."""

import click
import pytest

from dnnlib.commands import Command
from qc_stylegan.program import program
from tests.support.commands import all_commands

ALL = {" ".join(path): command for path, command in all_commands(program)}
# What the options with a name are about, wherever they are.
RETIRED = {
    "--truncation": "--trunc",
    "--noise": "--noise-mode",
    "--dest": "--output",
    "--subset": "--count",
    "--max-images": "--count",
    "--recipe": "--degradation",
    "--metric": "--metrics",
    "--preview-seeds": "--seeds",
}


def spellings(command):
    return {name for option in command.params if isinstance(option, click.Option) for name in option.opts}


@pytest.mark.parametrize("name", ALL)
def test_no_command_has_a_spelling_of_its_own(name):
    found = spellings(ALL[name])
    assert not found & RETIRED.keys()
    # Folders of results are -o/--outdir, files -o/--output, photos -i/--input.
    for long, short in {"--outdir": "-o", "--output": "-o", "--input": "-i"}.items():
        assert long not in found or short in found
    assert not {"--outdir", "--output"} <= found
    if "--tuning-steps" in found:  # beside steps of another stage
        assert "--projector-steps" in found and "--steps" not in found


@pytest.mark.parametrize("name", ALL)
def test_former_spellings_lead_to_options_and_hide_none(name):
    command = ALL[name]
    assert isinstance(command, Command), "made by dnnlib.commands"
    assert set(command.former.values()) <= spellings(command)
    assert not command.former.keys() & spellings(command)
    assert all(RETIRED.get(former, now) == now for former, now in command.former.items())


def test_each_retired_spelling_is_still_taken():
    assert RETIRED.keys() <= {former for command in ALL.values() for former in command.former}
