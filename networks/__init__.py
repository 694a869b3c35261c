"""Networks: configuration, layers, generators, discriminator and their files."""
