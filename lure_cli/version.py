"""The version; a leaf, imported by every layer."""

__version__ = "0.2.0"
