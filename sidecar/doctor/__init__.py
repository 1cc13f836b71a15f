"""Checks a machine before trouble does: what a sidecar with given settings would meet there.

    Site (settings, machine)  ──▶  CHECKS, one after another  ──▶  findings, each with its remedy

A check is a generator over a `Site`; nothing that it does changes the machine.
"""
