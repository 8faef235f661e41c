"""The processes that train one model together: their parts of a batch, and their collective operations.

Every process holds whole networks and its own equal part of each batch. After each backward pass gradients are
averaged; in batch normalisation the statistics of all parts are combined. So the processes compute what one process
computes on the whole batch, but for the order in which floating-point numbers are added up.

Gradients are averaged by hand and not by torch's `DistributedDataParallel`: generator and discriminator share one fake
pass, gradients stop at features, and penalties differentiate twice. Its hooks are made for none of these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from numpy.typing import NDArray
from torch import Tensor, distributed, nn

from synthbank.models import SharedRng

T = TypeVar("T")
M = TypeVar("M", bound=nn.Module)


class UnwrappedStrategy(DDPStrategy):
    """Fabric's processes and their connection, without its wrapper around networks."""

    def setup_module(self, module: nn.Module) -> nn.Module:  # type: ignore[override]
        """The network itself; `ProcessGroup.average_gradients` does what the wrapper would."""
        return module


class ProcessGroup:
    """This process among those that train one model. Alone, every method returns its argument.

    Args:
        fabric: launched.
    """

    def __init__(self, fabric: Fabric) -> None:
        self.rank, self.world_size = fabric.global_rank, fabric.world_size
        self._fabric = fabric

    @property
    def is_main(self) -> bool:
        """True in the process that writes, scores and decides."""
        return self.rank == 0

    def barrier(self) -> None:
        """Return when every process has called it."""
        if self.world_size > 1:
            self._fabric.barrier()

    def own(self, batch: NDArray[np.int64]) -> NDArray[np.int64]:
        """The part of a batch that this process trains on."""
        return np.split(batch, self.world_size)[self.rank]

    def share(self, rng: SharedRng) -> SharedRng:
        """`rng` itself, from now on for this process's part of the batch."""
        rng.part, rng.parts = self.rank, self.world_size
        return rng

    def broadcast(self, value: T) -> T:
        """The value that the main process holds."""
        return value if self.world_size == 1 else self._fabric.broadcast(value)

    def gather(self, part: Tensor) -> Tensor:
        """The parts of all processes in order, `[count * N, ...]` from `[N, ...]`; carries no gradient."""
        if self.world_size == 1:
            return part
        parts = [torch.empty_like(part) for _ in range(self.world_size)]
        distributed.all_gather(parts, part.detach().contiguous())
        return torch.cat(parts)

    def mean_scalars(self, steps: Sequence[Mapping[str, Tensor]]) -> list[dict[str, float]]:
        """Each scalar's mean over the processes; every process must have the same names in the same order."""
        if self.world_size == 1 or not steps:
            return [{k: float(v) for k, v in step.items()} for step in steps]
        # one message for all steps and names; in float64, so that the mean of equal values is that value
        means = torch.stack([v.detach().double() for step in steps for v in step.values()])
        distributed.all_reduce(means)
        left = iter((means / self.world_size).tolist())
        return [{k: next(left) for k in step} for step in steps]

    @torch.no_grad()
    def average_gradients(self, module: nn.Module) -> None:
        """Replace the gradients of a network by their mean over the processes, in one message."""
        if self.world_size == 1:
            return
        # every process has the same parameters with gradients, in the same order: the parts line up
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        message = torch.cat([g.reshape(-1) for g in gradients])
        distributed.all_reduce(message)
        parts = torch.split(message.div_(self.world_size), [g.numel() for g in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))

    def sync_batchnorm(self, module: M) -> M:
        """The network, with batch normalisation over the parts of all processes together."""
        if self.world_size == 1:
            return module
        for parent in list(module.modules()):
            for name, child in parent.named_children():
                # the exact type: a subclass may normalise in another way
                if type(child) is nn.BatchNorm2d:
                    setattr(parent, name, SyncBatchNorm2d(child, self))
        return module

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the processes, which can be differentiated any number of times."""
        total: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
        return total


class SyncBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation over the parts of a batch that several processes hold, on any device.

    torch's `SyncBatchNorm` runs on GPUs alone, and cannot be differentiated twice, as gradient penalties need.

    Args:
        plain: the layer to replace; parameters and running statistics are taken over.
        process_group: the processes that hold the other parts.

    Source: Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances"
    (means and deviations of parts are combined without cancellation).
    """

    def __init__(self, plain: nn.BatchNorm2d, process_group: ProcessGroup) -> None:
        super().__init__(plain.num_features, plain.eps, plain.momentum, device=plain.weight.device)
        self.load_state_dict(plain.state_dict())
        self.train(plain.training)
        self._process_group = process_group

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, H, W]` to the same shape."""
        if not self.training:
            return super().forward(x)
        # statistics of half-precision maps in single precision, as torch's own layer computes them
        values = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        mean, variance = self._statistics(values)
        self._remember(mean.detach(), variance.detach(), values.numel() // self.num_features)
        # gamma (x - mean) / sqrt(variance + eps) + beta, as one multiplication and one addition a value
        gain = self.weight * (variance + self.eps).rsqrt()
        offset = self.bias - mean * gain
        return torch.addcmul(offset[:, None, None], values, gain[:, None, None]).to(x.dtype)

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # Each process puts its statistics into a slot of its own and all are summed: a gather that has a gradient.
        own = torch.stack(torch.var_mean(x, dim=(0, 2, 3), correction=0))  # [2, C]
        slots = nn.functional.one_hot(
            torch.tensor(self._process_group.rank, device=x.device), self._process_group.world_size
        )
        parts = self._process_group.sum(slots.to(x.dtype).view(-1, 1, 1) * own)  # [count, 2, C]
        variances, means = parts.unbind(1)
        # Chan, Golub and LeVeque for parts of equal size: the variance of the whole is the mean of the parts' variances
        # plus the variance of the parts' means. E x^2 - (E x)^2 would cancel where the mean is large.
        mean = means.mean(dim=0)
        return mean, variances.mean(dim=0) + (means - mean).square().mean(dim=0)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, n_here: int) -> None:
        n = n_here * self._process_group.world_size
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        # running_var takes the unbiased variance, n / (n - 1) times the one that normalises, as nn.BatchNorm2d does
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_((variance * n / (n - 1)).to(self.running_var.dtype), self.momentum)
        self.num_batches_tracked += 1


class _Sum(torch.autograd.Function):
    """Sum over the processes.

    With y_j = sum_i x_i in every process j, dL / dx_i = sum_j dL / dy_j: the gradients are summed in the same way.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.detach().clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # through `apply`, so that this pass has a graph too, for penalties
        summed: Tensor = _Sum.apply(gradient)  # type: ignore[no-untyped-call]
        return summed
