"""Mutations that keep what they don't touch meaningful: frames, records, JSON, msgpack, files."""
