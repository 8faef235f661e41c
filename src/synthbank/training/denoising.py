"""One step of training a denoiser, which needs no discriminator."""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import override

from synthbank.config import TrainConfig
from synthbank.errors import OptionError
from synthbank.fingerprint import stable_seed
from synthbank.models import Denoiser, ModelSpec, architectures, normal
from synthbank.records import LabelledImages, UInt8Images
from synthbank.training.ema import ema_copy
from synthbank.training.trainer import BaseTrainer, Sampler, trainers

_MEAN, _DEVIATION = -1.2, 1.2  # P_mean and P_std of the logarithm of the noise level: Karras et al. 2022, table 1


@trainers.register("denoising")
class DenoisingTrainer(BaseTrainer):
    """A denoiser, its optimiser and data of one run. Arguments as in `make_trainer`.

    Augmentation is by the symmetries of `augment_real` alone: they keep the label, and images that come out in another
    orientation are right as they are.

    Raises:
        OptionError: the configuration has options of a discriminator.

    Source: Karras et al. 2022, arXiv 2206.00364 (EDM), section 5.
    """

    def __init__(
        self, spec: ModelSpec, config: TrainConfig, *, train: LabelledImages, sampler: Sampler, fabric: Fabric
    ) -> None:
        super().__init__(spec, config, train=train, sampler=sampler, fabric=fabric)
        if config.adversarial is not None:
            raise OptionError(
                f"'{config.architecture}' has no discriminator, and the configuration has options for one",
                next_step="start from the preset of this architecture",
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stable_seed(config.seed, "weights"))
            generator = self._to_layout(architectures.get(config.architecture).generator(spec))
        assert isinstance(generator, Denoiser), f"'{config.architecture}' declares a trainer that does not fit it"
        self.ema = ema_copy(generator).to(fabric.device)
        self.sigma_data = generator.sigma_data
        generator = self.process_group.sync_batchnorm(generator)
        self.generator, self.opt_g = fabric.setup(generator, self._adam(generator, config.lr_g))
        self.generator.mark_forward_method("denoise")  # Fabric knows `forward` alone, which would run the sampler

    @override
    def modules(self) -> dict[str, nn.Module]:
        return {"generator": self.generator.module, "ema": self.ema}

    @override
    def optimizers(self) -> dict[str, tuple[Any, float, float]]:
        return {"opt_g": (self.opt_g, self.config.lr_g, self.config.lr_final_fraction)}

    @override
    def step(self, index: int, *, progress: float) -> dict[str, Tensor]:
        """Update the denoiser once.

        Args:
            index: number of the step, from 0.
            progress: share of the schedule that is done, 0..1; it sets the learning rate.

        Returns:
            Detached scalar `loss`; about 1 for an untrained network.
        """
        rng = self._step_rng(index)
        self._set_learning_rates(progress)
        real, labels = self._real_batch(index, rng)
        # ln(sigma) ~ N(P_mean, P_std^2): effort goes where the loss can be reduced (section 5, figure 5a)
        sigma = (_MEAN + _DEVIATION * normal((len(real),), rng)).exp()
        noise = normal(real.shape, rng)
        noisy = torch.addcmul(real, sigma.view(-1, 1, 1, 1), noise)  # y + n with n ~ N(0, sigma^2 I)
        # equation 2, weighted by lambda(sigma) as equation 8: E[lambda(sigma) ||D(y + n; sigma) - y||^2]
        error = (self._in_precision(self.generator.denoise, noisy, sigma, labels) - real).square().mean(dim=(1, 2, 3))
        loss = (loss_weight(sigma, self.sigma_data) * error).mean()
        self._update(self.generator, self.opt_g, loss)
        self._average(index)
        return {"loss": loss.detach()}

    @override
    def mean_logit(self, images: UInt8Images, labels: NDArray[Any]) -> None:
        return None


def loss_weight(sigma: Tensor, sigma_data: float) -> Tensor:
    """Weight lambda of the squared error at noise levels `sigma` (Karras et al. 2022, table 1).

    It is the inverse square of `c_out`, so that the training target of every level has unit variance.
    """
    return (sigma.square() + sigma_data**2) / (sigma * sigma_data).square()
