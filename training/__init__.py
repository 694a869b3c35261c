"""What trains: data, networks, augmentation, losses and the loop."""
