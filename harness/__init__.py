"""Simulated region-based active learning for semantic segmentation: which strategy really saves clicks?"""

__version__ = "0.1.0"
