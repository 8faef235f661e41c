"""Delivery: what leaves a bank as files."""
