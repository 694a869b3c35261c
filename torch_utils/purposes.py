"""Purposes of random numbers: all numbers in the keys of random streams, in one place so that none is used twice.

A stream's key is (seed, purpose, ...) unless a comment says otherwise. Two purposes may share a number where their keys
differ in what follows it, or where one goes to numpy and the other to `BatchRandom`. A number never changes: runs could
not be continued, and seeds would give other images.
"""

from enum import IntEnum

# Keys of numpy's generators.
FOR_DEGRADATION = 1  # degradation of a training image; the image's number follows
FOR_ORDER = 2  # order of the training images; the round's number follows
FOR_SUBSET = 3  # choice of a subset of the images
FOR_DEGRADATION_NOISE = 4  # noise of a training image degraded on the device; the image's number follows
FOR_METRICS = 4  # degradation of a real image in a measurement; the image's number follows
FOR_CLASS = 5  # class of a generated image in a measurement
FOR_CLASSIFICATION = 9  # degradation of a generated image in the paper's section 4.6; the image's seed follows

# Keys of `BatchRandom`.
FOR_IMAGE_NOISE = 1  # the network's noise in image number `seed`
FOR_SAMPLE_SHEET = 1  # latents and codes of the sheets of a run
FOR_FAKE_NOISE = 6  # the network's noise in a measurement
FOR_PATH = 7  # the latents of path lengths
FOR_QUALITY = 8  # the starting points of a quality code
FOR_PROJECTOR = 9  # the starting points of the projector
FOR_WHITENING = 10  # the latents whose w give the whitened space
FOR_LOCALITY = 11  # the codes of pivotal tuning's locality term
FOR_DIRECTIONS = (11,)  # the latents from which directions are computed; the whole key, without a seed
FOR_AVERAGE = (11,)  # the latents whose w give a published network's missing mean; the whole key
FOR_SPREAD = (21,)  # the latents whose w give the spread that encoders are scaled by; the whole key


class TrainingPurpose(IntEnum):
    """Purposes within a step of training a generator; the key has the images seen between the seed and the purpose."""

    INITIAL_WEIGHTS = 0
    GENERATOR = 1
    PATH_LENGTH = 2
    FAKES = 3
    DISCRIMINATOR = 4
    R1 = 5


class EncoderPurpose(IntEnum):
    """Purposes within a step of training an encoder."""

    INITIAL_WEIGHTS = 0
    PHOTOS = 1
    OWN_SAMPLES = 2
    GRID = 3
