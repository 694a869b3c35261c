"""Options that several commands of calc_metrics.py have."""

import click

from dnnlib.flags import PATH

device_option = click.option("--device", help="Device: cuda, mps or cpu.  [default: the best there is]")
workers_option = click.option(
    "--workers", type=click.IntRange(min=0), default=2, help="Number of processes that read real images."
)
cache_dir_option = click.option(
    "--cache-dir",
    type=PATH,
    metavar="DIR",
    help="Cache of real images' features.  [default: $QC_STYLEGAN_CACHE/features]",
)
