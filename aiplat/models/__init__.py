"""Architectures for one device, one family a module. No task, no dataset."""
