"""Our step beside another program's, phase by phase: each side is a process, and they take turns."""
