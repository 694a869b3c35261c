"""The subcommands of calc_metrics.py."""
