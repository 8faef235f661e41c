"""Training: one adversarial step, the loop around it, guards, state and history."""

from synthbank.training.adversarial import AdversarialTrainer, Sampler
from synthbank.training.loop import FitResult, Hooks, TrainingLoop
from synthbank.training.state import History

__all__ = ["AdversarialTrainer", "FitResult", "History", "Hooks", "Sampler", "TrainingLoop"]
