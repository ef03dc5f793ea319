from __future__ import annotations

from tests.training_material import EVERY, N_STEPS, Trained, trained  # noqa: F401


def test_the_material_is_a_real_training_that_overfits(trained: Trained) -> None:  # noqa: F811
    steps = list(range(EVERY, N_STEPS + 1, EVERY))
    assert list(trained.checkpoints) == list(trained.train_losses) == steps
    assert list(trained.valid_losses) == [1, *steps]
    assert trained.train_losses[N_STEPS] < 0.1 * trained.train_losses[EVERY]
    best = min(trained.valid_losses, key=lambda step: trained.valid_losses[step])
    assert 1 < best < N_STEPS
    assert trained.valid_losses[N_STEPS] > trained.valid_losses[best] + 0.1
    assert {path.name for path in trained.checkpoints[best].iterdir()} == {
        *("adapters.safetensors", "adapter_config.json"),
    }
