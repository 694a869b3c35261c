"""The commands of calc_metrics.py."""
