"""Training: steps (adversarial, denoising), the loop around them, guards and state."""

from synthbank.training.adversarial import AdversarialTrainer
from synthbank.training.denoising import DenoisingTrainer
from synthbank.training.loop import FitResult, Hooks, Pace, Progress, TrainingLoop
from synthbank.training.process_group import ProcessGroup, UnwrappedStrategy
from synthbank.training.state import state_size
from synthbank.training.trainer import BaseTrainer, Sampler, check_batch, make_trainer, trainers

__all__ = [
    "AdversarialTrainer",
    "BaseTrainer",
    "DenoisingTrainer",
    "FitResult",
    "Hooks",
    "Pace",
    "ProcessGroup",
    "Progress",
    "Sampler",
    "TrainingLoop",
    "UnwrappedStrategy",
    "check_batch",
    "make_trainer",
    "state_size",
    "trainers",
]
