"""Benchmarks beside a peer: a stand-in package with the names that published checkpoints have."""

import contextlib
import copy
import io
import json
import sys
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from benchmarks.peers import __main__ as command
from benchmarks.peers import ours, theirs
from dnnlib.errors import UserError

SIZES = {"resolution": 16, "channel_base": 64, "channel_max": 8, "mapping_layers": 1, "batch": 2, "threads": 1}
SETTINGS = SIZES | {"generate": [1], "q_dim": 16, "variant": "paper", "folder": "", "quality": False}
PHASES = ["G", "G_reg", "D", "D_reg", "generate 1"]
PACKAGE = """
import torch
from torch import nn

class Synthesis(nn.Module):
    def __init__(self, side, channel_base, channel_max, num_fp16_res):
        super().__init__()
        assert (channel_base, channel_max, num_fp16_res) == (64, 8, 0)
        self.side, self.linear = side, nn.Linear(512, 3 * side**2)

    def forward(self, ws, **options):
        return self.linear(ws[:, 0]).square().unflatten(1, (3, self.side, self.side))

class Mapping(nn.Module):
    def __init__(self, num_layers):
        super().__init__()
        self.fc = nn.Linear(512, 512)

    def forward(self, z, c):
        return self.fc(z)[:, None].expand(-1, 4, -1)

class Generator(nn.Module):
    def __init__(self, z_dim, c_dim, w_dim, img_resolution, img_channels, mapping_kwargs={}, synthesis_kwargs={}):
        super().__init__()
        self.mapping = Mapping(**mapping_kwargs)
        self.synthesis = Synthesis(img_resolution, **synthesis_kwargs)

class Discriminator(nn.Module):
    def __init__(self, c_dim, img_resolution, img_channels, channel_base, channel_max, num_fp16_res, epilogue_kwargs):
        super().__init__()
        print("set up")
        self.linear = nn.Linear(3 * img_resolution**2, 1)

    def forward(self, img, c):
        return self.linear(img.flatten(1)).square()
"""


def stand_in(with_quality):
    """Return the package's classes; with a quality code, the constructor takes the widths under any name."""
    names = {}
    exec(PACKAGE, names)

    class Synthesis(names["Synthesis"]):
        def forward(self, ws, q, **options):
            return super().forward(ws) * (1 + q.sum(1)[:, None, None, None])

    class Generator(nn.Module):
        def __init__(
            self, z_dim, c_dim, w_dim, img_resolution, img_channels, q_dim, mapping_kwargs, **synthesis_kwargs
        ):
            super().__init__()
            self.mapping = names["Mapping"](**mapping_kwargs)
            self.synthesis = Synthesis(img_resolution, **synthesis_kwargs)

    return SimpleNamespace(__name__="peer", **names | ({"Generator": Generator} if with_quality else {}))


@pytest.fixture
def package(tmp_path):
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "networks.py").write_text(PACKAGE)
    return tmp_path


@pytest.mark.parametrize("with_quality", [False, True])
def test_each_phase_trains_its_networks_alone(with_quality):
    step = theirs.Step(stand_in(with_quality), SETTINGS)
    assert step.has_quality is with_quality and len(step.discriminators) == 1 + with_quality
    of_generator = [step.train_generator, step.regularize_generator]
    of_discriminators = [step.train_discriminators, step.regularize_discriminators]
    for is_generators, phases in ((True, of_generator), (False, of_discriminators)):
        for phase in phases:
            before = [copy.deepcopy(module.state_dict()) for module in (step.G, *step.discriminators)]
            phase()
            moved = [
                any(not torch.equal(old[name], value) for name, value in module.state_dict().items())
                for old, module in zip(before, (step.G, *step.discriminators), strict=True)
            ]
            assert moved == [is_generators] + [not is_generators] * len(step.discriminators), phase
    sharp, *degraded = step.images(step.latents(2))
    assert sharp.shape == (2, 3, 16, 16) and len(degraded) == with_quality
    step.generate(1)


@pytest.mark.parametrize("quality", [False, True])
def test_both_sides_have_the_same_phases(monkeypatch, quality):
    monkeypatch.setattr(theirs, "_networks", lambda: stand_in(quality))
    monkeypatch.setattr(sys, "path", [*sys.path])
    facts, phases = theirs.phases_of(SETTINGS)
    assert facts == {"module": "peer", "quality": quality}
    _, own = ours.phases_of(SETTINGS | {"quality": quality})
    assert list(phases) == list(own) == PHASES
    for phase in PHASES[2:]:
        own[phase]()


def test_a_side_answers_each_line(monkeypatch):
    """What a phase prints is no answer, and what it raises is one."""
    requests = '{"batch": 3}\nfast\nbad\nfast\n'
    monkeypatch.setattr(sys, "stdin", io.StringIO(requests))
    monkeypatch.setattr(sys, "stdout", output := io.StringIO())
    theirs.serve(lambda settings: (settings, {"fast": lambda: print("words"), "bad": lambda: {}["missing"]}))
    facts, fast, bad = (json.loads(line) for line in output.getvalue().splitlines())
    assert facts == {"batch": 3, "phases": ["fast", "bad"]}
    assert fast["seconds"] >= 0 and fast["peak_memory"] > 2**20
    assert bad == {"error": "KeyError: 'missing'"}


def test_a_peer_is_imported_where_none_of_our_packages_is(package):
    with command._side([str(command.FOLDER / "theirs.py")]) as side:
        assert side.ask(SETTINGS | {"folder": str(package)}) == {
            "module": "training.networks",
            "quality": False,
            "phases": PHASES,
        }
        assert side.ask("generate 1")["seconds"] >= 0
        assert side.ask("dance") == {"error": "KeyError: 'dance'"}
        assert side.ask("dance") == {"error": "its process has ended"}


class Scripted:
    """A side whose phases take what a list says, in turn."""

    def __init__(self, *seconds, memory):
        self.seconds, self.memory, self.asked = list(seconds), memory, []

    def ask(self, phase):
        self.asked.append(phase)
        return {"seconds": self.seconds.pop(0), "peak_memory": self.memory * 2**30}


def test_the_least_of_each_phase_is_compared(capsys):
    own, other = Scripted(9, 2, 3, 9, 8, 9, 4, 4, 4, 16, 16, 16, memory=1), Scripted(*[8] * 12, memory=2)
    report = command._compare(own, other, PHASES[:4], repeats=2)
    assert report["G"] == {"ours": 2, "theirs": 8} and report["peak GB"] == {"ours": 1, "theirs": 2}
    assert report["average step"] == {"ours": 2 + 8 / 4 + 4 + 16 / 16, "theirs": 8 + 8 / 4 + 8 + 8 / 16}
    assert own.asked == [phase for phase in PHASES[:4] for _ in range(3)]
    assert "average step      9.0000   18.5000    0.49" in capsys.readouterr().out
    with pytest.raises(UserError, match="^G of ours failed: its process has ended; choose other sizes"):
        command._checked({"error": "its process has ended"}, "G of ours")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ([], "Nothing is timed: no peer is given; --peer takes a folder with the released code of QC-StyleGAN"),
        (["--peer=nowhere"], "Nothing is timed: nowhere is no folder; --peer takes"),
        (["--peer=."], r"Nothing is timed: the networks of . do not run here (LookupError: no training.networks or"),
    ],
)
def test_without_a_peer_nothing_is_timed(monkeypatch, flags, sentence):
    class NoPeer:
        def ask(self, settings):
            return {"error": "LookupError: no training.networks or another"}

    monkeypatch.setattr(command, "_side", lambda arguments: contextlib.nullcontext(NoPeer()))
    result = CliRunner().invoke(command.main, flags, catch_exceptions=False)
    assert result.exit_code == 0 and result.output.startswith(sentence)


def test_a_folder_without_networks_is_no_peer(monkeypatch):
    monkeypatch.setattr(theirs, "MODULES", ("no_such_package.networks",))
    with pytest.raises(LookupError, match="^no no_such_package.networks with a Generator and a Discriminator$"):
        theirs._networks()
