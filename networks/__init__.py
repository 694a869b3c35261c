"""Networks: configuration, layers, generators, discriminator, latents, and their files."""
