"""The lock of a folder: one holder, however many forks it has, until it ends, however it dies."""

import errno
import multiprocessing
import os
import signal
import time

import pytest

from dnnlib.errors import InUseError, UserError
from dnnlib.running import lock
from dnnlib.running.lock import NAME, FolderLock, doubts, require_unlocked


def test_a_second_holder_is_told_who_the_first_one_is(tmp_path):
    with FolderLock(tmp_path):
        for attempt in (FolderLock, require_unlocked):
            with pytest.raises(InUseError, match=rf"^{tmp_path} is in use by process {os.getpid()} on \S+ since 20"):
                attempt(tmp_path)
    require_unlocked(tmp_path)
    with FolderLock(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert list(tmp_path.iterdir()) == []


def test_asking_writes_nothing(tmp_path):
    require_unlocked(tmp_path)
    require_unlocked(tmp_path / "missing")
    assert list(tmp_path.iterdir()) == []


def hold(folder, *locks):
    """Lock a folder, unless the lock comes as an argument, and tell it by a file; stay until the end of the test."""
    kept = locks or [FolderLock(folder)]
    (folder / "held").touch()
    time.sleep(60 * len(kept))


def wait_for(path):
    while not path.exists():
        time.sleep(0.01)


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=hold, args=[tmp_path])
    process.start()
    wait_for(tmp_path / "held")
    with pytest.raises(InUseError, match=f"process {process.pid} "):
        FolderLock(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert (tmp_path / NAME).exists()
    with FolderLock(tmp_path):
        pass
    assert not (tmp_path / NAME).exists()


def test_forks_do_not_hold_it(tmp_path):
    """Data workers live on for seconds after their process was killed."""
    held = FolderLock(tmp_path)
    context = multiprocessing.get_context("fork")
    started = context.Event()
    process = context.Process(target=lambda: (started.set(), time.sleep(60)))
    process.start()
    assert started.wait(30)
    os.close(held._handle)  # as when this process is killed
    held._handle = -1
    with FolderLock(tmp_path):
        process.kill()


def test_a_spawned_process_holds_what_it_was_handed(tmp_path):
    """Ranks go on for a while when the process that has started them is killed."""
    held = FolderLock(tmp_path)
    process = multiprocessing.get_context("spawn").Process(target=hold, args=[tmp_path, held])
    process.start()
    wait_for(tmp_path / "held")
    os.close(held._handle)
    held._handle = -1
    with pytest.raises(InUseError):
        FolderLock(tmp_path)
    process.kill()
    process.join()
    with FolderLock(tmp_path):
        pass


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to(path.with_name("elsewhere"))])
def test_what_is_no_file_is_no_lock(tmp_path, make):
    make(tmp_path / NAME)
    with pytest.raises(UserError, match=rf"^cannot lock {tmp_path}: .*; choose another --outdir$"):
        FolderLock(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_full_disk_can_be_locked(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "ftruncate", refuse)
    with FolderLock(tmp_path), pytest.raises(InUseError, match="is in use by another process"):
        FolderLock(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with FolderLock(tmp_path) as held:
        assert held.note == f"the file system of {tmp_path} has no locks: start its run once only"
    require_unlocked(tmp_path)


MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw
30 22 0:5 / /home rw shared:2 - nfs4 server:/home rw,vers=4.2,local_lock=none
31 22 0:6 / /scratch rw - nfs4 server:/scratch rw,vers=4.1,local_lock=flock
32 22 0:7 / /old rw - nfs server:/old rw,vers=3,nolock,local_lock=all
33 22 0:8 / /with\\040space rw - lustre host:/fs rw,localflock
34 22 0:9 / /with\\040space/flock rw - lustre host:/fs rw,flock
35 22 0:9 / /ssh rw - fuse.sshfs host: rw,user_id=0
"""
COUNTS_HERE_ALONE = {
    "/runs": "",
    "/home/runs": "",
    "/scratch/runs": "nfs4",
    "/scratchpad": "",
    "/old": "nfs",
    "/with space/runs": "lustre",
    "/with space/flock/runs": "",
    "/ssh/a/b": "fuse.sshfs",
}


@pytest.mark.parametrize(("folder", "kind"), COUNTS_HERE_ALONE.items(), ids=str)
def test_locks_that_other_machines_do_not_see_are_named(tmp_path, folder, kind):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    said = f"locks of {folder} ({kind}) are unknown to other machines: do not start its run on two of them"
    assert doubts(folder, mounts) == (said if kind else "")
    assert doubts(folder, tmp_path / "no Linux") == ""
