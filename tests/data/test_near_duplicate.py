"""Near duplicates are confirmed at full size; inputs are made here."""

from __future__ import annotations

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageFilter

from synthbank.data import IngestOptions, divide, ingest_source
from synthbank.data.quality import Candidate, set_findings
from synthbank.data.quality.near_duplicate import best_shift, detail_agreement, fine_detail


def chest(seed: int, side: int = 96) -> np.ndarray:
    """A simulated chest film `[side, side]`: two lungs, a heart, ribs and noise; position and dose vary a little."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    y, x = y - rng.normal(0, 0.01), x - rng.normal(0, 0.01)
    body = np.exp(-(((x - 0.5) / 0.38) ** 6))
    lungs = sum(np.exp(-(((x - c) / 0.13) ** 2) - ((y - 0.45) / 0.24) ** 2) for c in (0.3, 0.7))
    heart = np.exp(-(((x - 0.54) / 0.09) ** 2) - ((y - 0.62) / 0.13) ** 2)
    ribs = 0.05 * np.sin(38 * (y + 0.15 * abs(x - 0.5)) + rng.normal(0, 0.2)) * lungs
    film = rng.normal(1, 0.05) * (190 * body - 120 * lungs + 70 * heart + 255 * ribs) + 20
    return np.clip(film + rng.normal(0, 6, film.shape), 0, 255).astype(np.uint8)


def blob(seed: int, side: int = 64) -> np.ndarray:
    """A cell far out of focus `[side, side, 3]`."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side - 0.5
    width = rng.uniform(0.18, 0.22, 2)
    spot = np.exp(-((x / width[0]) ** 2) - ((y / width[1]) ** 2))[..., None]
    image = 215 - spot * np.array([90, 110, 40]) * rng.uniform(0.9, 1.1) + rng.normal(0, 1.5, (side, side, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def pairs_of(images):
    candidates = []
    for i, image in enumerate(images):
        array = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
        name = f"a/{i}.png"
        candidates.append(Candidate(name, "a", array, len(array), array.shape[1], file=name))
    return {(f.other, f.index) for f in set_findings("near_duplicate", candidates)}


@pytest.mark.parametrize("size", [64, 96])
def test_films_that_only_look_alike_stay_apart(tmp_path, encoded, size):
    for i in range(60):
        folder = tmp_path / "cxr" / ("normal" if i % 2 else "pneumonia")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"p{i}.png").write_bytes(encoded(chest(i)))
    options = IngestOptions(size=size)
    result, split = divide(ingest_source(tmp_path / "cxr", options), options, seed=0)
    assert result.near_duplicate_pairs == ()
    assert len({o.group for o in result.originals}) == 60
    assert Counter(split.splits).most_common(1)[0][1] == 42
    assert split.warnings == ()


def test_films_that_only_look_alike_were_all_on_the_short_list(monkeypatch):
    monkeypatch.setattr("synthbank.data.quality.near_duplicate.DETAIL_LIMIT", -1.0)
    films = [np.asarray(Image.fromarray(chest(i)).resize((64, 64))) for i in range(12)]
    assert len(pairs_of(films)) > 10


def test_cells_out_of_focus_stay_apart():
    assert pairs_of([blob(i) for i in range(40)]) == set()


def saved_as_jpeg(image, quality=75):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


@pytest.mark.parametrize(
    "again",
    [
        saved_as_jpeg,
        lambda image: np.roll(image, (1, 0), (0, 1)),
        lambda image: np.clip(image.astype(int) + 6, 0, 255).astype(np.uint8),
        lambda image: np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(0.8))),
        lambda image: ((image.astype(int) + np.roll(image, 1, 1)) // 2).astype(np.uint8),
    ],
    ids=["jpeg", "shift", "brighter", "blurred", "half a pixel"],
)
@pytest.mark.parametrize("size", [32, 64, 96])
def test_the_same_image_again_is_found(picture, again, size, request):
    if size == 32 and "-shift" in request.node.name:
        size = 48  # one of 32 pixels is more than thumbnails allow
    images = [picture(i, size, size) for i in range(10)]
    assert (0, 10) in pairs_of([*images, again(images[0])])


def test_films_that_are_the_same_are_found_among_those_that_look_alike():
    films = [chest(i) for i in range(20)]
    assert pairs_of([*films, saved_as_jpeg(films[3])]) == {(3, 20)}


def test_a_frame_that_all_images_share_joins_none_of_them(picture):
    def framed(seed):
        image = (picture(seed) // 4 + 96).astype(np.uint8)
        image[:3], image[-3:], image[:, :3], image[:, -3:] = 0, 0, 0, 0
        image[6:12, 6:20] = np.tile([[255], [0]], (3, 14))[..., None]
        return image

    assert pairs_of([framed(i) for i in range(30)]) == set()


def test_many_copies_of_one_image_are_one_warning_each(class_folder, encoded, picture):
    for i in range(5):
        copy = np.clip(picture(0).astype(int) + 2 * i + 2, 0, 255).astype(np.uint8)
        (class_folder / "round" / f"q{i}.png").write_bytes(encoded(copy))
    result = ingest_source(class_folder)
    findings = {o.name: [f for f in o.findings if f.check == "near_duplicate"] for o in result.originals}
    assert max(map(len, findings.values())) == 1
    assert "4 more images are as near" in findings["round/q4.png"][0].message
    assert len({o.group for o in result.originals if "/q" in o.name or o.name == "round/p0_0.png"}) == 1


def test_best_shift_and_agreement_of_a_shifted_image(picture):
    grey = picture(3)[..., 0].astype(float)
    moved = np.roll(grey, (2, -3), (0, 1))
    assert best_shift(fine_detail(moved), fine_detail(grey), 4) == (2, -3)
    assert detail_agreement(fine_detail(grey), fine_detail(grey)) == pytest.approx(1.0)
    assert abs(detail_agreement(fine_detail(grey), fine_detail(picture(4)[..., 0].astype(float)))) < 0.3
