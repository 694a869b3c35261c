"""The folder of a run: only the run that wrote a file replaces it, and states are whole, finite and verified."""

import dataclasses
import json
import os
import signal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.campaign.kills import killing_at
from dnnlib.config import to_dict
from dnnlib.errors import InUseError, UserError
from images.datasets.identity import DataIdentity
from inversion.encoders.config import EncoderConfig
from inversion.encoders.run import EncoderRunDirectory
from tests.support.runs import changed, flatten, tiny_config
from training.report import NETWORK_TICKS, Report
from training.run_directory import RunDirectory

NAN, INF = float("nan"), float("inf")
DATA = DataIdentity(images=12, resolution=16, channels=3, label_dim=0, content="c0ffee", labels="")
CONFIG = tiny_config("images.zip")
TRAINER = {
    "images_seen": 16,
    "G": {"weight": torch.arange(300.0).reshape(3, 100), "bias": torch.zeros(0), "half": torch.ones(3).half()},
    "optimizer": {"state": {0: {"exp_avg": torch.ones(5), "step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1}]},
}
STATE = {"trainer": TRAINER, "data": DATA.to_state()}


@pytest.fixture
def directory(tmp_path):
    return RunDirectory(tmp_path)


@pytest.fixture
def begun(directory):
    """Return the directory of a run that has saved a state."""
    directory.prepare(CONFIG, DATA)
    directory.save_state(STATE)
    return directory


def content(folder):
    """Return the files of a folder, but for what each start of a run writes."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in ("config.json",)}


def test_a_state_comes_back_as_it_was(begun):
    state, notes = begun.prepare(CONFIG, DATA)
    assert notes == [] and "checksums" not in state
    assert not changed(flatten(state), flatten({"format_version": 1, **STATE}))
    assert sorted(content(begun.path)) == ["training-state.pt"]


def test_the_directory_is_locked_while_it_is_held(begun):
    with begun.hold():
        for attempt in (lambda: begun.hold().__enter__(), begun.require_unlocked):
            with pytest.raises(InUseError, match="is in use by process"):
                attempt()
    begun.require_unlocked()


def test_a_run_that_writes_nothing_leaves_no_folder(tmp_path):
    for existed in (False, True):
        directory = RunDirectory(tmp_path / "run")
        with pytest.raises(UserError), directory.hold():
            raise UserError("another network is needed")
        assert directory.path.exists() == existed
        directory.path.mkdir(exist_ok=True)


# Whose files they are.


NETWORK = "network-snapshot-000040.safetensors"
RECORD = '{"images_seen": 8}\n'
OWNED = {
    "a network": (NETWORK, "anything", rf"{NETWORK} of a run without its training-state.pt.*--init-from=\S+{NETWORK}$"),
    "statistics": ("stats.jsonl", RECORD, "stats.jsonl of a run without.*or start a new run in another --outdir$"),
    "metrics": ("metric-fid5k_full.jsonl", RECORD, "metric-fid5k_full.jsonl of a run without its training-state.pt"),
    "a configuration of something else": ("config.json", '{"a": 1}', "config.json, which this run would write and no"),
    "an encoder's configuration": ("config.json", json.dumps(to_dict(EncoderConfig())), "config.json, which this run"),
    "brackets": ("config.json", "[" * 100_000, "config.json, which this run would write"),
    "a log": ("log.txt", "mine", "log.txt, which this run would write"),
    "a picture": ("reals.png", "mine", "reals.png, which this run would write"),
    "another picture": ("fakes000000-degraded.png", "mine", "fakes000000-degraded.png, which this run would write"),
}


@pytest.mark.parametrize(("name", "text", "sentence"), OWNED.values(), ids=OWNED)
def test_what_a_new_run_would_replace_is_refused(directory, name, text, sentence):
    """Neither a run that has lost its state nor a person's own files; nothing is written, not even beside them."""
    (directory.path / name).write_text(text)
    for _ in range(2):
        with pytest.raises(UserError, match=f"^{directory.path} holds {sentence}"):
            directory.prepare(CONFIG, DATA)
        assert [path.read_text() for path in directory.path.iterdir()] == [text]


def test_an_encoder_owns_its_own_names(tmp_path):
    """Networks and pictures of a generator's run are no matter to it."""
    encoders, config = EncoderRunDirectory(tmp_path), EncoderConfig()
    for name in (NETWORK, "reals.png"):
        (tmp_path / name).write_text("mine")
    encoders.prepare(config, DATA)
    for name, sentence in (("encoder-000004.safetensors", "of a run without"), ("grid000000.png", "would write")):
        other = EncoderRunDirectory(tmp_path / name)
        other.path.mkdir()
        (other.path / name).write_text("mine")
        with pytest.raises(UserError, match=sentence):
            other.prepare(config, DATA)


FOREIGN = [
    "mine.jsonl",
    "notes.txt",
    ".mine.abcdefgh.part",
    ".training-state.pt.part",
    ".network.abcdefgh.part",
    "a.part",
]
LEFT = [
    ".training-state.pt.abc_1234.part",
    ".network-snapshot-000040.safetensors.abcdefgh.part",
    ".network-snapshot-best.safetensors.abcdefgh.part",
    ".config.json.abcdefgh.part",
    ".stats.jsonl.abcdefgh.part",
    ".metric-fid5k_full.jsonl.abcdefgh.part",
    ".reals.png.abcdefgh.part",
    ".fakes000040-degraded.png.abcdefgh.part",
    "..no-state-yet.abcdefgh.part",
    ".training-state.pt.xyz.part",
]


@pytest.mark.parametrize("fixture", ["directory", "begun"])
def test_what_killed_runs_left_goes_and_foreign_files_stay(request, fixture):
    directory = request.getfixturevalue(fixture)
    for name in FOREIGN + LEFT:
        (directory.path / name).write_text("[1, 2]\nplain text")
    directory.prepare(CONFIG, DATA)
    directory.forget_stats_after(-1)
    names = {path.name for path in directory.path.iterdir()}
    assert names >= set(FOREIGN) and not names & set(LEFT)
    assert all((directory.path / name).read_text() == "[1, 2]\nplain text" for name in FOREIGN)


def test_a_run_that_was_killed_before_its_first_state_begins_again(directory):
    """It may replace what it wrote: records, pictures, a network. So may one with other settings, but for networks."""
    other = dataclasses.replace(CONFIG, batch=16)
    for config in (CONFIG, other):
        assert directory.prepare(config, DATA) == (None, [])
        (directory.path / "reals.png").write_text("drawn")
        (directory.path / "stats.jsonl").write_text(RECORD)
    (directory.path / NETWORK).write_text("whole")
    assert directory.prepare(other, DATA) == (None, [])
    for changes in ((CONFIG, DATA), (other, dataclasses.replace(DATA, content="other"))):
        with pytest.raises(UserError, match="holds the beginning of a run with another configuration or other data"):
            directory.prepare(*changes)
    directory.save_state(STATE)
    directory.state_path.unlink()
    with pytest.raises(UserError, match=f"{NETWORK} of a run without its training-state.pt"):
        directory.prepare(other, DATA)


def test_an_empty_log_is_the_shell_s(directory):
    """`python train.py ... > OUTDIR/log.txt` makes it before the program begins."""
    (directory.path / "log.txt").touch()
    assert directory.prepare(CONFIG, DATA) == (None, [])


@pytest.mark.parametrize("name", ["log.txt", "stats.jsonl"])
def test_a_folder_in_place_of_a_file_is_a_sentence(begun, name):
    (begun.path / name).mkdir()
    with pytest.raises(
        UserError, match=rf"{name} cannot be \w+: Is a directory; move it away, or choose another --outdir"
    ):
        Report(begun, 1.0, 16, NETWORK_TICKS)


# The data.


CHANGES = {
    "number": ({"images": 50, "content": "dead"}, "images: 12 -> 50; content of the images"),
    "content": ({"content": "dead"}, "content of the images"),
    "labels": ({"labels": "beef"}, "labels"),
}
MISFITS = {
    "gray": ({"channels": 1, "content": "dead"}, "channels: 3 -> 1; content of the images"),
    "classes": ({"label_dim": 6, "labels": "beef"}, "label_dim: 0 -> 6; labels"),
}


@pytest.mark.parametrize(("change", "said"), CHANGES.values(), ids=CHANGES)
def test_other_data_are_refused_unless_they_are_allowed(begun, change, said):
    now = dataclasses.replace(DATA, **change)
    before = content(begun.path)
    with pytest.raises(UserError, match=rf"the data have changed since .* was saved \({said}\); .*--allow-data-change"):
        begun.prepare(CONFIG, now)
    allowed = dataclasses.replace(CONFIG, run=dataclasses.replace(CONFIG.run, allow_data_change=True))
    state, notes = begun.prepare(allowed, now)
    assert state["trainer"]["images_seen"] == 16 and notes == [f"the data have changed ({said})"]
    assert content(begun.path) == before


@pytest.mark.parametrize(("change", "said"), MISFITS.values(), ids=MISFITS)
def test_data_that_do_not_fit_are_refused_anyway(begun, change, said):
    allowed = dataclasses.replace(CONFIG, run=dataclasses.replace(CONFIG.run, allow_data_change=True))
    for config in (CONFIG, allowed):
        with pytest.raises(UserError, match=rf"\({said}\) and do not fit its networks; .*another --outdir$"):
            begun.prepare(config, dataclasses.replace(DATA, **change))


def test_data_are_known_by_content_and_not_by_name(begun):
    renamed = dataclasses.replace(CONFIG, data=dataclasses.replace(CONFIG.data, path="elsewhere/other.zip"))
    assert begun.prepare(renamed, DATA)[1] == []
    begun.save_state({"trainer": TRAINER})  # as before states knew their data
    with pytest.raises(UserError, match=r"another configuration \(data.path: other.zip -> images.zip\)"):
        begun.prepare(CONFIG, DATA)


# The state.


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize(
    ("place", "name"),
    [
        (lambda state: state["trainer"]["G"]["weight"], "trainer.G.weight"),
        (lambda state: state["trainer"]["G"]["half"], "trainer.G.half"),
        (lambda state: state["trainer"]["optimizer"]["state"][0]["exp_avg"], r"trainer.optimizer.state\[0\].exp_avg"),
        (None, r"trainer.optimizer.param_groups\[0\].lr"),
    ],
)
def test_a_state_that_is_not_finite_is_not_saved(begun, place, name, value):
    before = content(begun.path)
    state = torch.load(begun.state_path, weights_only=True)
    if place is None:
        state["trainer"]["optimizer"]["param_groups"][0]["lr"] = value
    else:
        place(state).view(-1)[-1] = value
    with pytest.raises(UserError, match=f"^{name} became NaN or infinite; the last saved state is untouched"):
        begun.save_state(state)
    assert content(begun.path) == before
    torch.save(state, begun.state_path)  # as programs did that did not look
    with pytest.raises(UserError, match="training-state.pt (holds NaN or infinity, in|is damaged)"):
        begun.load_state()
    del state["checksums"]
    torch.save(state, begun.state_path)
    with pytest.raises(UserError, match=f"holds NaN or infinity, in {name}, so that no step can follow; put "):
        begun.load_state()


@pytest.fixture(scope="module")
def whole_state(tmp_path_factory):
    """Return the bytes of a state, and a directory for others."""
    directory = RunDirectory(tmp_path_factory.mktemp("damaged"))
    directory.save_state(STATE)
    return directory.state_path.read_bytes(), directory


@given(data=st.data())
def test_no_damage_to_a_state_goes_unseen(whole_state, data):
    """A bit, a byte or the end: the state is refused, or it is the same numbers."""
    whole, directory = whole_state
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    directory.state_path.write_bytes(damaged[: data.draw(st.sampled_from([len(damaged), len(damaged) // 2]))])
    try:
        state = directory.load_state()
    except UserError as error:
        assert "training-state.pt" in str(error) and "another --outdir" in str(error)
    else:
        assert not changed(flatten(state), flatten({"format_version": 1, **STATE}))


def test_another_number_in_a_part_is_named(begun):
    """A file that is whole as such, but not what was saved."""
    state = torch.load(begun.state_path, weights_only=True)
    state["trainer"]["G"]["weight"][1, 2] += 1
    torch.save(state, begun.state_path)
    (begun.path / NETWORK).write_text("newest")
    with pytest.raises(UserError) as caught:
        begun.load_state()
    assert str(caught.value) == (
        f"{begun.state_path} is damaged, trainer.G.weight is not what was saved; put training-state.pt back from a "
        f"copy, or start a new run in another --outdir with --init-from={begun.path / NETWORK}"
    )


def test_a_state_without_checksums_loads(begun):
    """As programs before wrote it."""
    torch.save({"format_version": 1, "trainer": TRAINER}, begun.state_path)
    assert begun.load_state()["trainer"]["images_seen"] == 16


@pytest.mark.parametrize("where", ["before", "inside", "after"])
def test_a_kill_inside_a_save_leaves_a_whole_state(begun, where):
    """The one before or the new one; the next start removes what is left of the other."""
    pid = os.fork()
    if pid == 0:
        killing_at(1, where)()
        begun.save_state({"trainer": TRAINER | {"images_seen": 32}, "data": DATA.to_state()})
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert len(content(begun.path)) == (1 if where == "after" else 2)
    state, _ = begun.prepare(CONFIG, DATA)
    assert state["trainer"]["images_seen"] == (32 if where == "after" else 16)
    assert list(content(begun.path)) == ["training-state.pt"]
