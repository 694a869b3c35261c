"""PPL, perceptual path length (Karras et al. 2019; 2020 for ppl2_wend)."""

from metrics.distances.path_length import path_length
from metrics.metric import FeatureSets, LatentPath, Metric, Outcome, note_of_few

LEAST = 1000  # pairs of images


def _compute(sets: FeatureSets) -> Outcome:
    notes = note_of_few(LEAST, "the mean is noisy, as few large distances make it", fakes=len(sets.fakes))
    return Outcome({"": path_length(sets.fakes[:, 0])}, notes)


def _metric(name: str, detector: str, path: LatentPath) -> Metric:
    return Metric(name, detector, "distances", "none", 1, _compute, path, field_name="")


METRICS = [
    _metric("ppl2_wend{}", "vgg16", LatentPath("w", "end", crop=False)),
    _metric("ppl_wend{}", "vgg16", LatentPath("w", "end", crop=True)),
    _metric("ppl_wfull{}", "vgg16", LatentPath("w", "full", crop=True)),
    _metric("ppl_zend{}", "vgg16", LatentPath("z", "end", crop=True)),
    _metric("ppl_zfull{}", "vgg16", LatentPath("z", "full", crop=True)),
    _metric("ppl_cifar_wend{}", "cifar", LatentPath("w", "end", crop=False)),
]
