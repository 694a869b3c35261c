"""What is smaller than in the program, in tests and in the processes that they start; imported by what needs it."""

from inversion import familiarity
from inversion.encoders.backbones import resnet34
from training import sample_sheets

# 128 images of 16x16 would cost as much as some steps of training.
sample_sheets.sheet_size = lambda resolution: (2, 2)

# Photos that an encoder is measured on when it is written.
familiarity.PHOTOS = 4

# One block a stage. The blocks behind it are its like, and cost as much as all else in tiny encoders.
STAGES_OF_THE_PAPER = resnet34.STAGES
resnet34.STAGES = tuple((channels, 1) for channels, _ in STAGES_OF_THE_PAPER)
