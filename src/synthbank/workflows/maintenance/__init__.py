"""Maintenance: verify a bank, look after its keys, examine the machine."""
