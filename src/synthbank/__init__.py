"""SynthBank: an artificial database of synthetic biomedical images from a small labelled folder."""

__version__ = "0.1.0"
__all__ = ["__version__"]
