"""Divided work: each item once, the death of a process loses what it had at hand, and an error ends all."""

import json
import os
import signal
import socket
import time

import pytest

from dnnlib.errors import UserError
from tests.support.processes import warm_context, warm_starts
from torch_utils.processes.sharing import divide


def work(share, folder, victim=None, problem=None):
    """Note each item that this process does, when all have begun."""
    items = share.agree(lambda: list("abcdef"))
    done = []
    for item in share.claim(items):
        (folder / f"at-{share.rank}").touch()
        while len(list(folder.glob("at-*"))) < share.size:
            time.sleep(0.01)
        if item == victim:
            os.kill(os.getpid(), signal.SIGKILL)
        if item == problem:
            raise UserError("no space; free some")
        (folder / f"{item}-{share.rank}").touch()
        done.append(item)
    return {"rank": share.rank, "done": done, "last": share.is_last()}


def divided(*arguments):
    with warm_starts():
        return divide(work, 2, "cpu", *arguments)


def test_one_process_does_everything_itself(tmp_path):
    outcome = divide(work, 1, "cpu", tmp_path)
    assert outcome.results == [{"rank": 0, "done": list("abcdef"), "last": True}]
    assert not outcome.losses and outcome.left == 0


def test_each_item_is_done_once_and_one_process_is_the_last(tmp_path):
    outcome = divided(tmp_path)
    assert [result["rank"] for result in outcome.results] == [0, 1]
    assert sorted(item for result in outcome.results for item in result["done"]) == list("abcdef")
    assert all(result["done"] for result in outcome.results)
    assert sum(result["last"] for result in outcome.results) == 1
    assert not outcome.losses and outcome.left == 0


def test_a_killed_process_loses_what_it_had_at_hand(tmp_path):
    outcome = divided(tmp_path, "b")
    [result] = outcome.results
    assert result["done"] == list("acdef") and not result["last"]
    [loss] = outcome.losses
    assert loss.item == "b" and loss.reason.endswith("of 2 was ended by SIGKILL, perhaps for lack of memory")


def test_an_error_is_raised_and_the_others_end(tmp_path):
    with pytest.raises(UserError, match="^no space; free some$"):
        divided(tmp_path, None, "a")
    assert not list(tmp_path.glob("a-*"))


def test_processes_without_gpus_are_asked_for():
    for count in (2, 8):
        with pytest.raises(UserError, match=f"this machine has none; write --device=cpu --processes={count}$"):
            divide(work, count, None)


def work_under_torchrun(variables, folder):
    """Divide the work with processes that somebody else has started, and note what this one knows of it."""
    os.environ.update(variables)
    outcome = divide(work, 1, "cpu", folder)
    said = None if outcome is None else [outcome.results, outcome.left]
    (folder / f"outcome-{variables['RANK']}.json").write_text(json.dumps(said))


def test_processes_of_torchrun_share_its_store(tmp_path):
    """As torchrun starts them: the first process is the one that knows what has become of all."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = []
    for rank in range(2):
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        variables = {name: str(value) for name, value in names.items()}
        processes.append(warm_context().Process(target=work_under_torchrun, args=(variables, tmp_path)))
        processes[-1].start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    outcomes = [json.loads((tmp_path / f"outcome-{rank}.json").read_text()) for rank in range(2)]
    results, left = outcomes[0]
    assert sorted(item for result in results for item in result["done"]) == list("abcdef") and left == 0
    assert outcomes[1] is None


def work_in_stages(share, victim=None):
    """Claim items twice, the second time when all of the first are there."""
    for item in share.claim(list("abcd")):
        if item == victim:
            os.kill(os.getpid(), signal.SIGKILL)
        share.offer(f"first/{item}", [item, share.rank])
    found = [share.wait(f"first/{item}")[0] for item in "abcd"]
    return [found, list(share.claim(found[::-1]))]


def test_stages_of_work_hand_on_what_the_earlier_ones_have_made():
    assert divide(work_in_stages, 1, "cpu").results == [[list("abcd"), list("dcba")]]
    with warm_starts():
        outcome = divide(work_in_stages, 2, "cpu")
    assert [result[0] for result in outcome.results] == [list("abcd")] * 2
    assert sorted(item for result in outcome.results for item in result[1]) == list("abcd") and outcome.left == 0


def test_who_waits_for_what_a_killed_process_had_at_hand_says_so():
    expected = r"^process \d of 2 was ended by SIGKILL, perhaps for lack of memory; the same command goes on from what"
    with warm_starts(), pytest.raises(UserError, match=expected):
        divide(work_in_stages, 2, "cpu", "c")
