"""What the options of calc_metrics.py choose from, and their defaults: names and numbers alone, for `--help`."""

QUALITIES = ("sharp", "degraded")
TRACKS = ("blur", "super_resolution", "noise", "jpeg", "multiple")  # degradations of the table of restoration
SLIGHT = "slight"  # small degradations, one more track (supplement, D.5)
KINDS = ("blur", "noise", "jpeg")  # degradations that quality codes are classified by
# Whether a method of that table uses the encoder (else the projector), and whether it uses pivotal tuning.
METHODS = {
    "projector": (False, False),
    "projector+PTI": (False, True),
    "encoder": (True, False),
    "encoder+PTI": (True, True),
}
BASELINES = ("input", "classical")  # what methods have to beat in the same table
FURTHER_BASELINES = ("richardson-lucy",)  # baselines of one track each
REACH, COUNT = 3.0, 10  # "10 edit magnitudes uniformly picked in the range of [-3, 3]"
