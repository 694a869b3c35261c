"""Networks that detectors are made of: LPIPS and its backbones, VGG16, IR-SE-50, the classifier of CIFAR-10."""
