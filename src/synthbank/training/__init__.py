"""Training: steps (adversarial, denoising), the loop around them, guards, state and history."""

from synthbank.training.adversarial import AdversarialTrainer
from synthbank.training.denoising import DenoisingTrainer
from synthbank.training.loop import FitResult, Hooks, TrainingLoop
from synthbank.training.state import History
from synthbank.training.trainer import Sampler, Trainer, make_trainer, trainers

__all__ = [
    "AdversarialTrainer",
    "DenoisingTrainer",
    "FitResult",
    "History",
    "Hooks",
    "Sampler",
    "Trainer",
    "TrainingLoop",
    "make_trainer",
    "trainers",
]
