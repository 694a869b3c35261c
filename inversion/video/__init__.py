"""Video clips: inversion with one quality code, and content codes that are smooth over time."""
