import random

import numpy as np
import torch

from aiplat.training.seeding import random_state, restore_random_state, seed_everything

CPU = torch.device("cpu")


def drawn() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_seeds_repeat_and_ranks_and_steps_differ() -> None:
    draws = []
    for seed in [(1, 0, 0), (1, 0, 0), (1, 1, 0), (1, 0, 5), (2, 0, 0)]:
        seed_everything(*seed)
        draws.append(drawn())
    assert draws[0] == draws[1]
    assert len(set(draws)) == 4


def test_a_restored_state_continues_the_numbers() -> None:
    seed_everything(3)
    drawn()
    state = random_state(CPU)
    expected = [drawn(), drawn()]
    seed_everything(4)
    restore_random_state(state, CPU)
    assert [drawn(), drawn()] == expected
