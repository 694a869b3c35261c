"""Options that several commands of calc_metrics.py have."""

import click

from dnnlib.flags import PATH
from evaluation.tables.table import Table, write_table

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
outdir_option = click.option(
    "-o",
    "--outdir",
    type=PATH,
    metavar="DIR",
    help="Folder of the table, as markdown and JSON.  [default: it is printed alone]",
)


def publish_table(table: Table, outdir: str | None) -> None:
    """Print a table, and write it to a folder where one is given."""
    click.echo(table.markdown())
    if outdir is not None:
        write_table(table, outdir)
