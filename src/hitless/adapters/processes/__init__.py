"""Instances as processes on this machine: start, probe, adopt, end."""
