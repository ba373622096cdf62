"""Examines a version: instances out of rotation, asked, loaded and ended before users meet it."""
