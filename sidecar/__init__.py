"""A sidecar for the node of an on-chain order-book exchange: log in, live books out."""

__version__ = "0.1.0"
