"""PPL, perceptual path length (Karras et al. 2019; 2020 for ppl2_wend)."""

from metrics.distances.path_length import path_length
from metrics.metric import Metric, Outcome, Path, Rows


def _compute(rows: Rows) -> Outcome:
    return Outcome({"": path_length(rows.fakes[:, 0])})


def _metric(name: str, detector: str, path: Path) -> Metric:
    return Metric(name, detector, "distances", "none", 1, _compute, path, field_name="")


METRICS = [
    _metric("ppl2_wend{}", "vgg16", Path("w", "end", crop=False)),
    _metric("ppl_wend{}", "vgg16", Path("w", "end", crop=True)),
    _metric("ppl_wfull{}", "vgg16", Path("w", "full", crop=True)),
    _metric("ppl_zend{}", "vgg16", Path("z", "end", crop=True)),
    _metric("ppl_zfull{}", "vgg16", Path("z", "full", crop=True)),
    _metric("ppl_cifar_wend{}", "cifar", Path("w", "end", crop=False)),
]
