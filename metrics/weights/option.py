"""The option that names the directory of published weights, for all commands."""

import click

from dnnlib.flags import PATH
from metrics.weights.directory import VARIABLE

weights_dir_option = click.option(
    "--weights-dir", type=PATH, metavar="DIR", help=f"Directory of published weights.  [default: ${VARIABLE}]"
)
