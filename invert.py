"""Invert photos into a network: train an encoder, restore, edit, degrade, find directions, restore videos."""

import click

from dnnlib.flags import SETTINGS
from inversion.commands.degrade import degrade
from inversion.commands.directions import directions_command
from inversion.commands.edit import edit
from inversion.commands.interpolate import interpolate_command
from inversion.commands.mix import mix_command
from inversion.commands.pair_direction import pair_direction_command
from inversion.commands.restore import encode, restore
from inversion.commands.train_encoder import train_encoder_command
from inversion.commands.video import video


@click.group(context_settings=SETTINGS)
def main() -> None:
    """Invert photos into a network: find their content w and their quality q, and show them restored, edited, degraded.

    Each command explains itself: python invert.py restore --help.
    """


for command in (
    *(train_encoder_command, restore, encode, edit, degrade, video, directions_command),
    *(mix_command, interpolate_command, pair_direction_command),
):
    main.add_command(command)


if __name__ == "__main__":
    main()
