import torch

from synthbank.models import ModelSpec, two_players

NARROW = {"width": 0.25, "mixing": 8}


def test_scales_alike_weigh_the_coarsest_scale_like_the_finest():
    torch.manual_seed(0)
    spec = ModelSpec("projected", 64, 3, ("a", "b"), latent_dim=8, options=NARROW | {"scales_alike": True})
    alike = two_players("projected").discriminator(spec).eval()
    by_place = two_players("projected").discriminator(ModelSpec.from_json(spec.to_json() | {"options": NARROW})).eval()
    by_place.load_state_dict(alike.state_dict())
    images, labels = torch.rand(3, 3, 64, 64), torch.tensor([0, 1, 0])
    with torch.no_grad():
        every, few = alike(images, labels), by_place(images, labels)
    assert few.shape == (3, 16 + 16 + 16 + 4)
    assert every.shape == (3, 4 * 16)
    scales = torch.stack([part.mean(dim=1) for part in torch.split(few, [16, 16, 16, 4], dim=1)])
    torch.testing.assert_close(every.mean(dim=1), scales.mean(dim=0))
