"""The names of metrics: what people type, and what results are called."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dnnlib.errors import UserError
from metrics.detector import DETECTORS
from metrics.metric import (
    FIELD_COUNT,
    METRICS,
    FeatureSets,
    Request,
    check_counts,
    detectors_of,
    known_metrics,
    note_of_few,
    parse_requests,
)

KNOWN = known_metrics()


def parsed(text, **options):
    [request] = parse_requests(text, **options)
    return request


@pytest.mark.parametrize(
    "text, metric, count",
    [
        ("fid50k_full", "fid{}_full", 50_000),
        ("fid5k_full", "fid{}_full", 5_000),
        ("fid500", "fid{}", 500),
        ("fid", "fid{}", 50_000),
        ("kid50k_full", "kid{}_full", 50_000),
        ("pr50k3_full", "pr{}3_full", 50_000),
        ("pr5003_full", "pr{}3_full", 500),
        ("pr3_full", "pr{}3_full", 50_000),
        ("pr33", "pr{}3", 3),
        ("pr2k_cifar", "pr{}_cifar", 2_000),
        ("is50k", "is{}", 50_000),
        ("fd_cifar", "fd{}_cifar", 50_000),
        ("fd1k_cifar", "fd{}_cifar", 1_000),
        ("ppl2_wend", "ppl2_wend{}", 50_000),
        ("ppl2_wend5k", "ppl2_wend{}", 5_000),
        ("ppl_cifar_wend12", "ppl_cifar_wend{}", 12),
        ("  fd7_cifar ", "fd{}_cifar", 7),
    ],
)
def test_a_name_is_a_metric_and_a_number_of_images(text, metric, count):
    request = parsed(text)
    assert (request.metric.name, request.count) == (metric, count)


@pytest.mark.parametrize(
    "text, name",
    [
        ("fd_cifar", "fd50k_cifar"),
        ("fid50000_full", "fid50k_full"),
        ("fid1500", "fid1500"),
        ("kd3000_cifar", "kd3k_cifar"),
        ("pr500003_full", "pr50k3_full"),
        ("ppl2_wend50k", "ppl2_wend"),
        ("ppl_zfull", "ppl_zfull"),
        ("ppl_wfull1000", "ppl_wfull1k"),
        ("is", "is50k"),
    ],
)
def test_results_have_the_fields_names(text, name):
    assert parsed(text).name == name


@given(st.sampled_from(sorted(KNOWN)), st.integers(1, 10**7))
def test_a_results_name_means_the_result(known, count):
    request = Request(KNOWN[known], count)
    assert parsed(request.name) == request
    assert parsed(parsed(request.name).name).name == request.name


@given(st.sampled_from(sorted(KNOWN)), st.sampled_from(sorted(KNOWN)), st.integers(1, 10**6), st.integers(1, 10**6))
def test_no_two_results_share_a_name(one, other, m, n):
    requests = Request(KNOWN[one], m), Request(KNOWN[other], n)
    assert (requests[0].name == requests[1].name) == (requests[0] == requests[1])


def test_a_list_keeps_its_order_and_numbers_only_what_has_none():
    requests = parse_requests("kd_cifar,fid5k, fd_cifar", count=200)
    assert [request.name for request in requests] == ["kd200_cifar", "fid5k", "fd200_cifar"]
    assert detectors_of(requests) == ["cifar", "inception"]


@pytest.mark.parametrize(
    ("text", "count", "sentence"),
    [
        ("fidd50k_full", None, "unknown metric 'fidd50k_full'; did you mean 'fid50k_full'"),
        ("fid50k_fulll", None, "did you mean 'fid50k_full'"),
        ("fd-5_cifar", None, "did you mean 'fd50k_cifar'"),
        ("fid5m", None, "unknown metric 'fid5m'"),
        ("", None, "unknown metric ''"),
        ("fd_cifar,", None, "unknown metric ''"),
        ("fd_cifar,fd_cifar", None, "fd50k_cifar is asked for twice; leave one out"),
        ("fd_cifar,fd50k_cifar", None, "fd50k_cifar is asked for twice"),
        ("fd0_cifar", None, "fd0_cifar asks for 0 images; ask for at least 1"),
        ("fid0k", None, "fid0k asks for 0k images"),
        ("fd99999999999999999999_cifar", None, "asks for 99999999999999999999 images; ask for at least 1, and at most"),
        (f"fd{'9' * 5000}k_cifar", None, "asks for 99999999999999999999 images; ask for at least 1, and at most"),
        ("fd5k_cifar", 10**12, "--samples=1000000000000 is too many; ask for at least 1, and at most 100,000,000"),
        ("fd\u0663_cifar", None, "unknown metric"),
        ("fd5k_cifar", 0, "--samples=0 is too few; ask for at least 1"),
        ("fd5k_cifar", -3, "--samples=-3 is too few; ask for at least 1"),
    ],
)
def test_refusals(text, count, sentence):
    with pytest.raises(UserError) as error:
        parse_requests(text, count)
    assert sentence in str(error.value) and "\n" not in str(error.value)


def test_sets_that_are_too_small_are_named():
    request = parsed("pr3_cifar")
    assert request.metric.minimum == 4
    check_counts(request, 4, 4)
    check_counts(request, 4, None)
    with pytest.raises(UserError, match="pr3_cifar needs at least 4 generated images, here are 3; give more"):
        check_counts(request, 3, 100)
    with pytest.raises(UserError, match="at least 4 real images, here are 2"):
        check_counts(request, 10, 2)


@pytest.mark.parametrize("family", METRICS.names())
def test_every_family_is_complete(family):
    """A new file `families/NAME.py` is found, and its metrics fit together."""
    metrics = METRICS.get(family).METRICS
    assert metrics
    for metric in metrics:
        assert metric.name.count("{}") == 1 and Request(metric, FIELD_COUNT).name in KNOWN
        assert metric.detector in DETECTORS.names()
        assert (metric.path is not None) == (metric.output == "distances")
        assert metric.path is None or metric.reals == "none"


def test_scores_and_shares_are_better_when_larger_and_distances_when_smaller():
    for name, metric in KNOWN.items():
        assert metric.larger_is_better == name.startswith(("is", "pr")), name


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_statistics_of_too_few_images_carry_a_note(name):
    rows = np.random.default_rng(0).uniform(0.1, 1, (20, 40)).astype(np.float32)
    rows = rows[:, :1] if KNOWN[name].output == "distances" else rows / rows.sum(1, keepdims=True)
    [note] = KNOWN[name].compute(FeatureSets(rows, rows, 0, torch.device("cpu"))).notes
    assert "20 fakes" in note


def test_enough_images_carry_none():
    assert note_of_few(20, "too few", fakes=20, reals=21) == ()
    assert note_of_few(20, "too few", fakes=19, reals=3) == ("only 19 fakes and 3 reals, fewer than 20: too few",)
