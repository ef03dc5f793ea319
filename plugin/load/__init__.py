"""Adapters on disk: what is in their folders."""
