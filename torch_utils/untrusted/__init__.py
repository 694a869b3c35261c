"""Readers of untrusted files: pickles, torch.save files, TorchScript; nothing in such a file is ever executed."""
