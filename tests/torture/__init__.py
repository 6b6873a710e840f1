"""Faults at scale (`make torture`): kills, full disks and bad inputs, each with a seed, counted in one table."""
