"""Jobs on folders: every photo once, again when it or the settings change, bad ones reported, stops without harm."""

import errno
import json
import os
import signal

import pytest

from dnnlib.errors import UserError
from dnnlib.files import replace_file
from inversion.photos.inputs import TakenNames
from inversion.photos.jobs import merge_outcome, run_job
from torch_utils.processes.sharing import Loss, Outcome


class Copier:
    """A process that writes `<base>-out.txt` with the photo's bytes, and remembers what it was given."""

    def __init__(self, photos, outdir):
        self.photos, self.outdir = photos, outdir
        self.seen, self.batches = [], []

    def read(self, task):
        data = task.photo.read_bytes()
        if data == b"bad":
            raise UserError(f"{task.photo} cannot be read; replace the file")
        return data

    def process(self, tasks, items):
        self.batches.append([task.name for task in tasks])
        if b"worse" in items:
            raise UserError("no face here; crop it")
        results = []
        for task, data in zip(tasks, items, strict=True):
            self.before(task)
            with replace_file(task.output("out.txt")) as temporary:
                temporary.write_bytes(data)
                self.within(task)
            self.seen.append(task.name)
            results.append([task.output("out.txt")])
        return results

    def before(self, task):
        pass

    def within(self, task):
        pass

    def run(self, job="restore", settings=None, **options):
        self.seen, self.batches = [], []
        settings = settings or {"network": "abc"}
        return run_job(job, [self.photos], self.outdir, self.read, self.process, settings, **options)


@pytest.fixture
def copier(tmp_path):
    (tmp_path / "in").mkdir()
    for name in "abcde":
        (tmp_path / "in" / f"{name}.png").write_bytes(name.encode())
    return Copier(tmp_path / "in", tmp_path / "out")


def results(outdir):
    return {path.relative_to(outdir).as_posix(): path.read_bytes() for path in outdir.rglob("*.txt")}


ALL = {f"out/{name}.txt": name.encode() for name in "abcde"}
NAMES = [f"{name}.png" for name in "abcde"]


def test_each_photo_is_done_once(copier):
    summary = copier.run()
    assert (summary.done, summary.already, summary.failed, summary.exit_code) == (5, 0, [], 0)
    assert copier.seen == NAMES and results(copier.outdir) == ALL
    summary = copier.run()
    assert (summary.done, summary.already, summary.exit_code) == (0, 5, 0) and copier.seen == []
    assert summary.report("restored", "out/") == "0 restored, 5 were done before; results in out/"


def test_several_inputs_each_photo_once_and_under_a_name_of_its_own(copier, tmp_path):
    """Also one that is given twice, and two of one name in different folders."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.png").write_bytes(b"another")
    sources = [tmp_path / "in" / "b.png", tmp_path / "in", tmp_path / "other" / "a.png", tmp_path / "in" / "a.png"]
    summary = run_job("restore", sources, copier.outdir, copier.read, copier.process, {})
    expected = {name: content for name, content in ALL.items() if name != "out/a.txt"}
    assert summary.done == 6
    assert results(copier.outdir) == expected | {"out/in/a.txt": b"a", "out/other/a.txt": b"another"}


def test_the_summaries_of_processes_are_one_and_name_what_a_death_has_lost():
    parts = [{"done": 2, "already": 1, "failed": ["x.png: no"], "stopped_by": None}]
    summary = merge_outcome(Outcome(parts, [Loss("process 1 of 2 was ended by SIGKILL", "a.png")], left=0))
    assert (summary.done, summary.already, summary.exit_code) == (2, 1, 1)
    assert summary.failed == ["x.png: no", "a.png: process 1 of 2 was ended by SIGKILL; the same command tries again"]
    stopped = merge_outcome(Outcome([*parts, {**parts[0], "stopped_by": signal.SIGTERM}], left=7))
    assert (stopped.done, stopped.exit_code) == (4, 128 + signal.SIGTERM)
    before_the_next = merge_outcome(Outcome(parts, left=7, stopped_by=signal.SIGINT))
    assert (before_the_next.exit_code, before_the_next.failed) == (128 + signal.SIGINT, ["x.png: no"])


def test_processes_keep_records_of_their_own_of_which_the_latest_line_counts(copier):
    copier.run()
    record = copier.outdir / "done-restore.jsonl"
    first, *others = record.read_text().splitlines()
    later = json.dumps({**json.loads(first), "settings": "others", "time": json.loads(first)["time"] + 1})
    (copier.outdir / "done-restore-3.jsonl").write_text(f"{later}\n{others[0]}\n")
    record.write_text("\n".join([first, *others[1:]]) + "\n")
    summary = copier.run()
    assert (summary.done, summary.already) == (1, 4) and copier.seen == ["a.png"]


def test_what_changed_is_done_again(copier):
    copier.run()
    (copier.photos / "b.png").write_bytes(b"B")
    (copier.photos / "f.png").write_bytes(b"f")
    (copier.outdir / "out/d.txt").unlink()
    os.utime(copier.photos / "c.png", (1, 1))  # another time, the same content
    copier.run()
    assert copier.seen == ["b.png", "d.png", "f.png"]
    assert results(copier.outdir) == {**ALL, "out/b.txt": b"B", "out/f.txt": b"f"}
    copier.run(settings={"network": "other"})
    assert copier.seen == [*NAMES, "f.png"]
    copier.run(settings={"network": "abc"})  # the files are the other network's by now
    assert copier.seen == [*NAMES, "f.png"]


def test_a_change_that_keeps_the_size_is_seen(copier):
    copier.run()
    (copier.photos / "a.png").write_bytes(b"Z")
    copier.run()
    assert copier.seen == ["a.png"]


def test_jobs_of_other_names_do_not_disturb_each_other(copier):
    copier.run("restore")
    copier.run("encode")
    assert copier.seen == NAMES
    copier.run("restore")
    assert copier.seen == []


@pytest.mark.parametrize("batch", [1, 2, 3, 8])
def test_bad_photos_are_passed_over_and_reported_whatever_the_batch(copier, batch):
    (copier.photos / "b.png").write_bytes(b"bad")
    (copier.photos / "d.png").write_bytes(b"worse")
    summary = copier.run(batch=batch)
    assert (summary.done, summary.exit_code) == (3, 1)
    assert summary.failed == [
        f"{copier.photos / 'b.png'} cannot be read; replace the file",
        "d.png: no face here; crop it",
    ]
    assert summary.report("restored", "out").splitlines()[1:] == summary.failed
    assert results(copier.outdir) == {name: ALL[name] for name in ("out/a.txt", "out/c.txt", "out/e.txt")}
    (copier.photos / "d.png").write_bytes(b"d")
    summary = copier.run(batch=batch)
    assert copier.seen == ["d.png"] and (summary.done, summary.already, len(summary.failed)) == (1, 3, 1)


def test_batches_are_filled(copier):
    copier.run(batch=2)
    assert copier.batches == [["a.png", "b.png"], ["c.png", "d.png"], ["e.png"]]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_all_whole_and_the_next_run_goes_on(copier, number):
    handlers = [signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)]

    def stop(task):
        if task.name == "c.png":
            os.kill(os.getpid(), number)

    copier.within = stop
    summary = copier.run()
    assert summary.stopped_by == number and summary.exit_code == 128 + number
    assert signal.Signals(number).name in summary.report("restored", "out") and "goes on" in summary.report(
        "restored", "out"
    )
    assert [signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert results(copier.outdir) == {name: ALL[name] for name in ("out/a.txt", "out/b.txt")}
    assert list(copier.outdir.rglob("*.part")) == []
    copier.within = lambda task: None
    summary = copier.run()
    assert copier.seen == ["c.png", "d.png", "e.png"] and (summary.done, summary.already) == (3, 2)
    assert results(copier.outdir) == ALL


def test_bugs_and_full_disks_end_the_job_and_keep_what_is_done(copier):
    def full(task):
        if task.name == "b.png":
            raise OSError(errno.ENOSPC, "No space left on device")

    copier.within = full
    for batch in (1, 3):
        with pytest.raises(UserError, match="the disk is full"):
            copier.run(batch=batch)
    copier.within = lambda task: 1 / 0
    with pytest.raises(ZeroDivisionError):
        copier.run()
    copier.within = lambda task: None
    copier.run()
    assert copier.seen == NAMES[1:]


def test_a_torn_record_costs_one_photo(copier):
    copier.run()
    record = copier.outdir / "done-restore.jsonl"
    record.write_bytes(record.read_bytes()[:-30])
    copier.run()
    assert copier.seen == ["e.png"]
    copier.run()
    assert copier.seen == []
    record.write_text('\n[]\n"x"\n{}\n' + record.read_text())
    copier.run()
    assert copier.seen == []
    whole = [line for line in record.read_text().splitlines()[4:] if line.endswith("}")]
    assert {json.loads(line)["base"] for line in whole} == set("abcde")


def test_equal_stems_do_not_overwrite_each_other(copier):
    for name in ("a.jpg", "a-jpg.png", "sub/a.png", "sub/deep/a.png", "x y.é.png"):
        path = copier.photos / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    copier.run()
    outputs = results(copier.outdir)
    assert len(outputs) == len(set(outputs.values())) == 10
    assert outputs["out/sub/a.txt"] == b"sub/a.png" and outputs["out/sub/deep/a.txt"] == b"sub/deep/a.png"
    copier.run()
    assert copier.seen == []


def test_no_photo_has_the_name_of_anothers_face():
    """Whichever comes first; photos that are called like faces of no other keep their names."""
    names = TakenNames(["cat-face2", "sub/dog"])
    assert "cat" in names and "sub/dog-face3" in names
    assert "cat-face3" not in names and "dog-face3" not in names and "sub/dog-face" not in names


def test_a_new_photo_leaves_the_old_ones_their_names(copier):
    copier.run()
    (copier.photos / "a.jpg").write_bytes(b"new")  # sorts before a.png
    copier.run()
    assert copier.seen == ["a.jpg"]
    assert results(copier.outdir) == {**ALL, "out/a-jpg.txt": b"new"}


def test_results_within_the_input_folder_are_no_photos(copier):
    copier.outdir = copier.photos / "results"
    copier.run()
    (copier.outdir / "a-restored.png").write_bytes(b"result")
    copier.run()
    assert copier.seen == []


def test_one_photo_alone(copier):
    copier.photos = copier.photos / "c.png"
    assert copier.run().done == 1 and results(copier.outdir) == {"out/c.txt": b"c"}


def test_wrong_folders_are_refused_before_any_work(copier, tmp_path):
    photos, outdir = copier.photos, copier.outdir
    for source in (photos, photos / "a.png"):
        copier.photos, copier.outdir = source, photos / ".." / "in"
        with pytest.raises(UserError, match="is that of the photos; choose another --outdir"):
            copier.run()
    copier.photos, copier.outdir = photos, tmp_path / "file"
    copier.outdir.touch()
    with pytest.raises(UserError, match="cannot write to .*file"):
        copier.run()
    copier.outdir = tmp_path / "loop"
    copier.outdir.symlink_to("loop")
    with pytest.raises(UserError, match="cannot write to .*loop"):
        copier.run()
    copier.photos, copier.outdir = tmp_path / "none", outdir
    with pytest.raises(UserError, match="none does not exist"):
        copier.run()
    (tmp_path / "empty").mkdir()
    copier.photos = tmp_path / "empty"
    with pytest.raises(UserError, match="no photos in"):
        copier.run()
    (outdir / "done-restore.jsonl").mkdir(parents=True)
    copier.photos = photos
    with pytest.raises(UserError, match="cannot write .*done-restore.jsonl"):
        copier.run()
    assert copier.seen == [] and results(outdir) == {}
