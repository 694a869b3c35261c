"""One training step, for both modes: the networks, their optimizers, and what happens to them with each batch."""

import copy
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from images.datasets.batches import Batch
from images.ranges import from_levels
from networks.files import ImageFormat, build_generator, load_generator, with_precision
from networks.generators.interface import Content, Generator
from networks.latents import Latents
from networks.layers import split
from torch_utils.distributed import World
from torch_utils.histograms import Histograms
from torch_utils.purposes import TrainingPurpose
from torch_utils.seeding import BatchRandom, derive_seed
from torch_utils.stats import Statistics
from training import losses
from training.config import TrainConfig, batch_per_process
from training.optimization.ema import ema_decay, update_ema
from training.optimization.finite_guard import FiniteGuard, require_finite
from training.optimization.optimizer import lazy_adam, load_optimizer
from training.optimization.phase import Network, Phase
from training.passes.first_order import GeneratorPasses
from training.passes.phases import EagerPhases, GraphedPhases, Key, Phases
from training.stream import Stream, build_stream


def forgives_overflow(network: Network) -> bool:
    """Whether gradients of this network may overflow now and then, as in float16; such an element skips a step."""
    return network.config.precision.dtype == "fp16"


class Round(NamedTuple):
    """The images that go through the networks at once, as float32 in [-1, 1], and where they stand in the batch."""

    reals: dict[str, Tensor]  # [N, C, H, W] by stream
    c: Tensor  # [N, c_dim]
    rows: slice  # rows of the whole batch


class Trainer:
    """All that training changes.

    In mode `base` there is one stream, `sharp`, whose real images may be degraded ones (`data.reals`). In mode `qc`
    there are two, `sharp` and `degraded`, and a frozen teacher (paper, section 3.3). Where the DegradBlocks train alone
    there is only the stream `degraded`, and no teacher: sharp images stay the base network's bit for bit.

    Args:
        config: the run.
        images: format of the data set's images.
        world: this process's place among all processes.

    Attributes:
        is_whole: whether all belongs to the same step; not while a step changes it.
    """

    def __init__(self, config: TrainConfig, images: ImageFormat, world: World):
        self.config = config
        self.images = images
        self.world = world
        self.process_batch, self.batch_gpu = batch_per_process(config, world.size)
        self.images_seen = 0
        self.steps = 0
        self.is_whole = True
        self.statistics = Statistics(world.device)
        self.histograms = Histograms(world.device)  # scores since the last tick; a continued run begins them anew
        self.guard = FiniteGuard()
        self.phases: Phases = GraphedPhases(world.device) if config.run.cuda_graphs == "phases" else EagerPhases()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(config.seed, TrainingPurpose.INITIAL_WEIGHTS))
            self.G, self.teacher = self._build_generators()
            self.G_ema = copy.deepcopy(self.G).eval().requires_grad_(False)
            if config.train_degrad_only:
                self.G.freeze_plain()
            elif self._frozen:
                self.G.freeze_trunk()
            self.passes = GeneratorPasses(self.G, config.run)
            self.teacher_passes = None if self.teacher is None else GeneratorPasses(self.teacher, config.run)
            names = config.streams
            self.streams = [build_stream(index, name, config, images, world) for index, name in enumerate(names)]
        self.optimizer_g = lazy_adam(
            self.G.trainable_parameters(), config.optimizer_g, self._pl_interval, config.run, world.device
        )

    def step(self, batch: Batch) -> None:
        """Train on this process's share of one batch."""
        rounds = list(self._rounds(batch))
        run = self.phases.run
        fakes = run("G", self.train_generator, rounds)
        if self._pl_interval and self.steps % self._pl_interval == 0:
            run("G_reg", self.regularize_generator, rounds)
        if not self.config.loss.share_fakes:
            fakes = run("fakes", self.make_all_fakes, rounds)
        for stream in self.streams:
            run(f"D_{stream.name}", partial(self.train_discriminator, stream), rounds, fakes)
            if self._r1_interval and self.steps % self._r1_interval == 0:
                run(f"D_{stream.name}_reg", partial(self.regularize_discriminator, stream), rounds)
        self.steps += 1
        self.images_seen += self.config.batch
        update_ema(self.G_ema, self.G, ema_decay(self.config.ema, self.config.batch, self.images_seen))
        for stream in self.streams:
            if stream.strength is not None:
                stream.strength.step()
        self.is_whole = True

    def train_generator(self, rounds: list[Round]) -> list[dict[str, Tensor]]:
        """Adversarial loss in each stream, plus distillation (Eq. 11) where there is a teacher, and kept content.

        Returns: what `make_fakes` would for each round, where discriminators are to see the same images; else nothing.
            These images come from the weights before this phase's step.
        """
        shared = []
        mean_w = torch.zeros(self.G.w_dim, device=self.world.device)
        with self._phase(self.G, self.optimizer_g) as backward:
            for round_ in rounds:
                rng = self._random(TrainingPurpose.GENERATOR, round_)
                ws = self._sample_ws(rng, round_.c)
                mean_w += ws.detach()[:, 0].sum(0)  # [w_dim]; style mixing never reaches the first layer
                fakes, distillation = self._synthesize(ws, rng, distill=True)
                total = self.config.loss.distill_weight * distillation
                for stream in self.streams:
                    logits = stream.logits(fakes[stream.name], round_.c, rng)
                    self._report_scores(f"fake/{stream.name}", logits)
                    loss = losses.generator_loss(logits).mean()
                    self._report(f"Loss/G/{stream.name}", loss, watch="G")
                    total = total + loss
                if self.config.mode == "qc" and self.config.loss.content_weight > 0:
                    content = losses.content_loss(fakes["sharp"].detach(), fakes["degraded"])
                    self._report("Loss/G/content", content, watch="G")
                    total = total + self.config.loss.content_weight * content
                if self.teacher is not None:
                    self._report("Loss/G/distillation", distillation, watch="G")
                if self.config.loss.share_fakes:  # copies, since graphs write each round's images to the same memory
                    shared.append({stream.name: fakes[stream.name].detach().clone() for stream in self.streams})
                backward(total, len(ws))
        self.phases.note(self._begin_change)
        if not self._frozen:
            self.G.mapping.track_average(self.world.sum(mean_w) / self.config.batch)
        return shared

    def regularize_generator(self, rounds: list[Round]) -> None:
        """Path length regularisation of each stream on a part of the batch (lazy: it counts for the whole interval)."""
        config = self.config.loss
        sums = torch.zeros(len(self.streams), 2, device=self.world.device)
        with self._phase(self.G, self.optimizer_g) as backward:
            for round_ in rounds:
                rows = slice(round_.rows.start, round_.rows.stop, config.pl_batch_shrink)
                rng = self._random(TrainingPurpose.PATH_LENGTH, round_, rows)
                ws = self._sample_ws(rng, round_.c[:: config.pl_batch_shrink])
                ws = ws if ws.requires_grad else ws.requires_grad_()
                total = ws.new_zeros([])
                for stream, images in self._synthesize_apart(ws, rng):
                    noise = rng.randn(*images.shape[1:]) / images.shape[-1]
                    lengths = losses.path_lengths(images, ws, noise)
                    penalty = losses.path_length_penalty(lengths, stream.pl_mean).mean()
                    watch = None if forgives_overflow(self.G) else "G_reg"
                    self._report(f"Loss/path_penalty/{stream.name}", penalty, watch)
                    total_length = lengths.detach().sum()
                    sums[stream.index] += torch.stack([total_length, torch.full_like(total_length, len(lengths))])
                    total = total + penalty * config.pl_weight * config.pl_interval
                backward(total, round_.rows.stop - round_.rows.start)
        for stream, (length, count) in zip(self.streams, self.world.sum(sums), strict=True):
            stream.pl_mean.lerp_(length / count, config.pl_decay)

    def make_all_fakes(self, rounds: list[Round]) -> list[dict[str, Tensor]]:
        """Return fresh fakes of each stream for each round."""
        return [self.make_fakes(round_) for round_ in rounds]

    @torch.no_grad()
    def make_fakes(self, round_: Round) -> dict[str, Tensor]:
        """Return fresh fakes of each stream for the discriminators; one pass of the generator makes them all."""
        rng = self._random(TrainingPurpose.FAKES, round_)
        return self._synthesize(self._sample_ws(rng, round_.c), rng)[0]

    def train_discriminator(self, stream: Stream, rounds: list[Round], fakes: list[dict[str, Tensor]]) -> None:
        """Logistic loss on fakes and reals of one stream."""
        phase = f"D_{stream.name}"
        with self._phase(stream.D, stream.optimizer) as backward:
            for round_, fake in zip(rounds, fakes, strict=True):
                rng = self._random(TrainingPurpose.DISCRIMINATOR, round_, stream=stream, copies=2)
                images, reals = fake[stream.name], round_.reals[stream.name]
                logits, real_logits = stream.logits_apart(images, reals, round_.c, rng)
                loss_fake = losses.discriminator_loss_fake(logits).mean()
                loss_real = losses.discriminator_loss_real(real_logits).mean()
                self._report_scores(f"real/{stream.name}", real_logits)
                self._report(f"Loss/signs/real/{stream.name}", real_logits.sign())
                self._report(f"Loss/D/{stream.name}", loss_fake + loss_real, watch=phase)
                if stream.strength is not None:
                    stream.strength.observe(real_logits.detach())
                backward(loss_fake + loss_real, len(images))

    def regularize_discriminator(self, stream: Stream, rounds: list[Round]) -> None:
        """R1 on the reals of one stream (lazy: it counts for the whole interval)."""
        config = self.config.loss
        phase = f"D_{stream.name}_reg"
        with self._phase(stream.D, stream.optimizer) as backward:
            for round_ in rounds:
                rng = self._random(TrainingPurpose.R1, round_, stream=stream)
                images = round_.reals[stream.name].detach().requires_grad_()
                logits = stream.logits(images, round_.c, rng, second_order=True)
                penalty = losses.r1_penalty(logits, images).mean()
                watch = None if forgives_overflow(stream.D) else phase
                self._report(f"Loss/r1_penalty/{stream.name}", penalty, watch)
                backward(penalty * (config.r1_gamma / 2 * config.r1_interval), len(images))

    def networks(self) -> dict[str, Network]:
        """Return what is trained, by the phase that trains it."""
        return {"G": self.G} | {f"D_{stream.name}": stream.D for stream in self.streams}

    def require_finite(self) -> None:
        """Raise UserError, the same in every process, when a loss or anything that is saved is not finite."""
        self.guard.check(self.networks(), self.world.sum)
        require_finite(self.state_dict(alone=True), self._named_parameters())

    def state_dict(self, alone: bool = False) -> dict[str, Any]:
        """Return all that a resumed run needs to go on exactly, as dicts of tensors and numbers.

        Every process calls this, since counts are summed over all; with `alone`, those of this process are returned.
        """
        return {
            "images_seen": self.images_seen,
            "steps": self.steps,
            "G": self.G.state_dict(),
            "G_ema": self.G_ema.state_dict(),
            "teacher": {} if self.teacher is None else self.teacher.state_dict(),
            "optimizer_g": self.optimizer_g.state_dict(),
            "streams": {stream.name: stream.state_dict(alone) for stream in self.streams},
            "statistics": self.statistics.state_dict() if alone else self.statistics.state_dict(self.world.sum),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state, whose counts are those of all processes: the first one keeps them."""
        self.images_seen = state["images_seen"]
        self.steps = state["steps"]
        self.G.load_state_dict(state["G"])
        self.G_ema.load_state_dict(state["G_ema"])
        if self.teacher is not None:
            self.teacher.load_state_dict(state["teacher"])
        load_optimizer(self.optimizer_g, state["optimizer_g"])
        for stream in self.streams:
            stream.load_state_dict(state["streams"][stream.name], keep_counts=self.world.is_first)
        self.statistics.load_state_dict(state["statistics"], keep_counts=self.world.is_first)

    def _named_parameters(self) -> dict[str, list[str]]:
        """Return the names of the parameters of each optimizer, by its place in the state."""
        own = {f"streams.{stream.name}.optimizer": list(stream.D.trainable_parameters()) for stream in self.streams}
        return own | {"optimizer_g": list(self.G.trainable_parameters())}

    @property
    def _frozen(self) -> bool:
        """Whether everything before the last M blocks keeps the teacher's weights."""
        return self.config.mode == "qc" and not self.config.train_all

    @property
    def _pl_interval(self) -> int:
        return self.config.loss.pl_interval if self.config.loss.pl_weight > 0 else 0

    @property
    def _r1_interval(self) -> int:
        return self.config.loss.r1_interval if self.config.loss.r1_gamma > 0 else 0

    def _build_generators(self) -> tuple[Generator, Generator | None]:
        """Return the generator, and the teacher where there is distillation, both on the device."""
        config = self.config
        G = build_generator(config.generator, self.images)
        teacher = None
        if config.init_from is not None:
            base, _ = load_generator(config.init_from)
            G.load_base(base)
            if config.streams == ("sharp", "degraded") and config.loss.distill_weight > 0:
                teacher = with_precision(base, config.generator.precision.dtype).to(self.world.device)
        return G.to(self.world.device), teacher

    def _rounds(self, batch: Batch) -> Iterator[Round]:
        """Split this process's share of a batch into what goes through the networks at once."""
        batch = batch.to(self.world.device)
        first = self.world.rank * self.process_batch
        for start in range(0, self.process_batch, self.batch_gpu):
            part = slice(start, start + self.batch_gpu)
            reals = {}
            for name in self.config.streams:
                is_sharp = name == "sharp" and self.config.data.reals == "sharp"
                reals[name] = batch.images[part] if is_sharp else _degraded(batch, part)
            yield Round(
                reals={name: from_levels(images) for name, images in reals.items()},
                c=batch.labels[part],
                rows=slice(first + start, first + start + self.batch_gpu),
            )

    def _random(
        self,
        purpose: TrainingPurpose,
        round_: Round,
        rows: slice | None = None,
        stream: Stream | None = None,
        copies: int = 1,
    ) -> BatchRandom:
        def key() -> tuple[int, ...]:
            return self.config.seed, self.images_seen, purpose, 0 if stream is None else stream.index

        return self._draws(key, rows or round_.rows, copies)

    def _draws(self, key: Key, rows: slice, copies: int) -> BatchRandom:
        """Return the random numbers of a phase for these rows of the batch."""
        own = self.phases.generator(key)
        return BatchRandom(key(), self.config.batch, rows, self.world.device, copies, own)

    def _sample_ws(self, rng: BatchRandom, c: Tensor) -> Tensor:
        """Return random `ws [N, num_ws, w_dim]`, some of them mixed from two latents."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self._frozen):
            ws = self.G.mapping(rng.randn(self.G.z_dim), c)
            if self.config.loss.style_mixing_prob == 0:
                return ws
            other = self.G.mapping(rng.randn(self.G.z_dim), c)
            cutoff = rng.randint(1, self.G.num_ws, 1)
            mixed = rng.rand(1) < self.config.loss.style_mixing_prob
            layer = torch.arange(self.G.num_ws, device=ws.device)
            return torch.where((mixed & (layer >= cutoff))[:, :, None], other, ws)

    def _synthesize(self, ws: Tensor, rng: BatchRandom, distill: bool = False) -> tuple[dict[str, Tensor], Tensor]:
        """Return each stream's images of the same content, and the distillation loss if `distill` is set (else 0).

        With `distill`, sharp images are there for the content loss as well, even where none are trained.
        """
        noise = self.G.synthesis.make_noise("random", len(ws), rng)
        no_distillation = ws.new_zeros([])
        if self.config.mode == "base":
            return {"sharp": self.passes.image(self.passes.content(ws, noise))}, no_distillation
        q = rng.randn(self.G.q_dim)  # [N, D_q]
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self._frozen):
            content = self.passes.content(ws, noise)
        if self.config.train_degrad_only:
            fakes = {"degraded": self.passes.image(content, q)}
            if distill and self.config.loss.content_weight > 0:
                with torch.no_grad():
                    fakes["sharp"] = self.passes.image(content)
            return fakes, no_distillation
        images, features = self.passes.twins(content, q)  # [2 N, C, R, R]
        sharp, degraded = images.chunk(2)
        distillation = no_distillation
        if distill and self.teacher_passes is not None:
            teacher_features = self._teacher_features(self.teacher_passes, content)
            sharp_features = [split(feature, len(ws), 0)[0] for feature in features]  # [N, C, H, W] each
            distillation = losses.distillation_loss(teacher_features, sharp_features, self.config.loss.distill_norm)
        return {"sharp": sharp, "degraded": degraded}, distillation

    def _synthesize_apart(self, ws: Tensor, rng: BatchRandom) -> Iterator[tuple[Stream, Tensor]]:
        """Yield each stream's images from a pass of their own behind the trunk, so that each has its own derivative."""
        synthesis = self.G.synthesis
        noise = synthesis.make_noise("random", len(ws), rng)
        content = synthesis.content(Latents(ws), noise)
        if self.config.mode == "base":
            yield self.streams[0], synthesis.image(content)
            return
        codes = {"sharp": None, "degraded": rng.randn(self.G.q_dim)}
        for stream in self.streams:
            yield stream, synthesis.image(content, codes[stream.name])

    @torch.no_grad()
    def _teacher_features(self, teacher: GeneratorPasses, content: Content) -> list[Tensor]:
        """Return the teacher's features that Eq. 11 compares; a frozen trunk is the teacher's own and serves both."""
        if not self._frozen:
            content = teacher.content(content.ws, content.noise, self.passes.trunk_blocks)
        return teacher.features(content)

    def _begin_change(self) -> None:
        self.is_whole = False

    def _report(self, name: str, value: Tensor, watch: str | None = None) -> None:
        self.phases.note(self.statistics.report, name, value.detach())
        if watch is not None:
            self.phases.note(self.guard.watch, watch, f"loss {name.removeprefix('Loss/')}", value.detach())

    def _report_scores(self, of: str, logits: Tensor) -> None:
        self._report(f"Loss/scores/{of}", logits)
        self.phases.note(self.histograms.report, f"Scores/{of}", logits.detach())

    def _phase(self, network: Network, optimizer: torch.optim.Optimizer) -> Phase:
        others = [other for other in self.networks().values() if other is not network]
        return Phase(self.world, optimizer, network, others, self.process_batch, forgives_overflow(network))


def _degraded(batch: Batch, part: slice) -> Tensor:
    """Return a part of the degraded images, made here by the workers' plans unless the workers have made them."""
    if batch.degraded is not None:
        return batch.degraded[part]
    from degradations.batched.degrade import degrade  # OpenCV is needed by those alone who degrade

    assert batch.plans is not None, "a batch has neither degraded images nor plans for them"
    return degrade(batch.images[part], batch.plans[part])
