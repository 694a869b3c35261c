"""Directions in latent space: finding, storing and following them."""
