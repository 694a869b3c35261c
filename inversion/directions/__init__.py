"""Editing directions in latent space: find them, store them, and edit images along them."""
