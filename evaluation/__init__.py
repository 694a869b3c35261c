"""Evaluation of networks on data by metrics: streams of images, results, the tables of the paper, their commands."""
