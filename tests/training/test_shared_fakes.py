"""Fakes that the discriminators take over from the generator's phase (`loss.share_fakes`)."""

import pytest
import torch

from tests.support.runs import batches, changed, new_trainer, snapshot, train, wake
from tests.support.tolerance import assert_close
from torch_utils.purposes import TrainingPurpose
from training.stream import Stream

KINDS = {
    "base": ("base", {}),
    "qc": ("qc", {}),
    "degrad only": ("qc", {"train_degrad_only": True, "loss": {"content_weight": 1.0}}),
}


@pytest.fixture
def trainer(config):
    """Return a function that makes a trainer of a kind, with two rounds unless all images go at once."""

    def make(kind, share, at_once=4):
        mode, changes = KINDS[kind]
        loss = changes.get("loss", {}) | {"share_fakes": share}
        return wake(new_trainer(config(mode, **changes | {"loss": loss, "run": {"batch_gpu": at_once}})))

    return make


def rounds_of(subject):
    return list(subject._rounds(next(batches(subject.config))))


@pytest.mark.parametrize("kind", KINDS)
def test_discriminators_see_the_images_of_the_generators_phase(trainer, monkeypatch, kind):
    """In each round the very values, without a graph behind them."""
    subject, seen = trainer(kind, share=True), []

    def noted(method):
        def call(stream, fakes, *rest):
            seen.append((stream.name, fakes))
            return method(stream, fakes, *rest)

        return call

    for name in ("logits", "logits_apart"):
        monkeypatch.setattr(Stream, name, noted(getattr(Stream, name)))
    monkeypatch.setattr(subject, "make_fakes", None)
    rounds = rounds_of(subject)
    fakes = subject.train_generator(rounds)
    assert [set(of_round) for of_round in fakes] == [set(subject.config.streams)] * 2
    drawn = {name: [images for of, images in seen if of == name] for name in subject.config.streams}
    for stream in subject.streams:
        seen.clear()
        subject.train_discriminator(stream, rounds, fakes)
        taken = [images for _, images in seen]
        assert len(taken) == 2 and not any(images.requires_grad for images in taken)
        assert all(torch.equal(*pair) for pair in zip(taken, drawn[stream.name], strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_sharing_leaves_the_generators_gradient_as_it_is(trainer, kind):
    with_own, shared = (trainer(kind, share) for share in (False, True))
    assert with_own.train_generator(rounds_of(with_own)) == []
    shared.train_generator(rounds_of(shared))
    pairs = zip(with_own.G.trainable_parameters().items(), shared.G.trainable_parameters().values(), strict=True)
    assert all(torch.equal(own.grad, other.grad) for (_, own), other in pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_with_the_same_latents_and_weights_shared_is_unshared(trainer, monkeypatch, kind):
    """Bit for bit, over a step with all its phases."""
    unshared, shared = subjects = [trainer(kind, share) for share in (False, True)]
    draw = unshared._random

    def as_the_generator(purpose, *rest, **named):
        return draw(TrainingPurpose.GENERATOR if purpose == TrainingPurpose.FAKES else purpose, *rest, **named)

    monkeypatch.setattr(unshared, "_random", as_the_generator)
    before = snapshot(shared.streams[-1].D)
    for subject in subjects:
        monkeypatch.setattr(subject.optimizer_g, "step", lambda: None)
        train(subject, 1)
    assert not changed(snapshot(unshared), snapshot(shared))
    assert changed(before, snapshot(shared.streams[-1].D))


def test_rounds_share_what_the_whole_batch_would(trainer):
    """So do processes, which draw their rows in the same way."""
    halves, whole = (trainer("qc", True, at_once) for at_once in (4, 8))
    [expected] = whole.train_generator(rounds_of(whole))
    parts = halves.train_generator(rounds_of(halves))
    for name, images in expected.items():
        assert_close(torch.cat([part[name] for part in parts]), images)
