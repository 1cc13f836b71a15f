"""Puts `blocks.py`, the short ways to say blocks, within reach of every unit test."""
