"""Invert photos into a network: train an encoder, restore, edit, degrade, find directions, restore videos."""

from dnnlib import commands

# Where a command is, and what it does.
COMMANDS = {
    "train-encoder": ("inversion.commands.train_encoder:train_encoder_command", "Train an encoder for a network."),
    "restore": ("inversion.commands.restore:restore", "Restore bad photos."),
    "encode": ("inversion.commands.restore:encode", "Find the codes of photos, for the other commands."),
    "edit": ("inversion.commands.edit:edit", "Edit photos along a direction, with their quality kept."),
    "degrade": ("inversion.commands.degrade:degrade", "Give photos another degradation."),
    "degradation-figure": (
        "inversion.commands.degradation_figure:degradation_figure_command",
        "Draw Fig. 6 of the paper for photos: novel, copied and mixed degradations.",
    ),
    "video": ("inversion.commands.video:video", "Restore or edit a video."),
    "directions": ("inversion.commands.directions:directions_command", "Find directions to edit images along."),
    "mix": ("inversion.commands.mix:mix_command", "Give a photo the style of another."),
    "interpolate": ("inversion.commands.interpolate:interpolate_command", "Show what lies between two photos."),
    "pair-direction": (
        "inversion.commands.pair_direction:pair_direction_command",
        "Find the direction of a change from photos before and after it.",
    ),
}


@commands.group(targets=COMMANDS)
@commands.version_option
def main() -> None:
    """Invert photos into a network: find their content w and their quality q, and show them restored, edited, degraded.

    Each command explains itself: python invert.py restore --help.
    """


if __name__ == "__main__":
    main()
