"""What a running command needs: the lock of its folder, signals that stop it, its log."""
