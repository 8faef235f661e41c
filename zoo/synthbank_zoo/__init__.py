"""Models for SynthBank: generators, gates and cards, and discriminators in half precision. Data only, no code."""

__version__ = "0.1.0"
