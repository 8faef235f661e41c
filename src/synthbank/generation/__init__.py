"""Generation: one seed an image, fixed forward blocks, the gate, and the writer."""

from synthbank.generation.aligned_gate import build_gate
from synthbank.generation.gate import Gate, GateThresholds
from synthbank.generation.gate_file import load_gate
from synthbank.generation.sampler import Draw, Recipe, Sampler, forward_block
from synthbank.generation.seeds import image_id, image_seed
from synthbank.generation.simulated_copies import COPIES, simulate_copies
from synthbank.generation.writer import ImageWriter, WrittenImage

__all__ = [
    "COPIES",
    "Draw",
    "Gate",
    "GateThresholds",
    "ImageWriter",
    "Recipe",
    "Sampler",
    "WrittenImage",
    "build_gate",
    "forward_block",
    "image_id",
    "image_seed",
    "load_gate",
    "simulate_copies",
]
