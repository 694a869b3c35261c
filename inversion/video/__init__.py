"""Video clips: inversion with codes that are smooth over time."""
