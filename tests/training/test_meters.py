"""Meters by a clock that the test turns: amounts over differences of readings."""

import pytest
import torch

from llmill.training.meters import Meter, flops_per_token, matrix_peak
from tests.model.test_transformer import GPT2, model


class Clock:
    """Stands still but for `turn`."""

    def __init__(self):
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def turn(self, seconds: float) -> None:
        self.now += seconds


def test_tokens_per_second_are_the_tokens_of_an_interval_over_its_seconds():
    clock = Clock()
    meter = Meter(flops_per_token=10.0, peak=1000.0, clock=clock)
    clock.turn(4.0)
    meter.count(200)
    meter.count(200)
    first = meter.read()
    assert first["tokens_per_second"] == 100.0
    assert first["utilisation"] == 1.0
    clock.turn(1.0)
    meter.count(50)
    second = meter.read()
    assert second["tokens_per_second"] == 50.0
    assert second["utilisation"] == 0.5


def test_shares_say_where_the_time_of_the_interval_went():
    clock = Clock()
    meter = Meter(0.0, 0.0, clock)
    for _ in range(2):
        with meter.part("forward"):
            clock.turn(1.0)
        with meter.part("backward"):
            clock.turn(2.0)
    clock.turn(2.0)
    figures = meter.read()
    assert figures["share_forward"] == 0.25
    assert figures["share_backward"] == 0.5
    assert "utilisation" not in figures
    clock.turn(1.0)
    assert "share_forward" not in meter.read()


def test_validation_and_saving_are_no_time_of_training():
    clock = Clock()
    meter = Meter(0.0, 0.0, clock)
    clock.turn(7.0)  # the last state is read
    meter.begin()
    clock.turn(2.0)
    meter.count(100)
    with meter.apart():
        clock.turn(30.0)
    clock.turn(3.0)
    assert meter.read()["tokens_per_second"] == 20.0


def test_a_part_that_raises_is_counted_all_the_same():
    clock = Clock()
    meter = Meter(0.0, 0.0, clock)
    with pytest.raises(ValueError, match="bad"), meter.part("data"):
        clock.turn(3.0)
        raise ValueError("bad")
    clock.turn(3.0)
    assert meter.read()["share_data"] == 0.5


def test_flops_count_the_products_of_a_tied_gpt2_block_by_hand():
    made = model(GPT2)  # 16 wide, tied, 2 layers
    config = made.config
    block = 12 * 16 * 16  # qkv 3, out 1, up 4, down 4 squares
    products = config.n_layer * block + made.vocab_size * 16  # the tied table is the head
    attention = 12 * config.n_layer * 16 * 24
    assert flops_per_token(made, 24) == 6 * products + attention


def test_flops_leave_out_a_table_that_is_only_looked_up():
    untied = model(GPT2.model_copy(update={"tied": False, "position": "rotary"}))
    tied = model(GPT2)
    assert flops_per_token(untied, 24) == flops_per_token(tied, 24)


def test_a_head_that_is_asked_at_some_positions_counts_for_their_share():
    made = model(GPT2)
    less = flops_per_token(made, 24) - flops_per_token(made, 24, head_share=0.15)
    assert less == pytest.approx(0.85 * 6 * made.vocab_size * 16)


def test_the_peak_is_the_operations_of_a_product_over_the_seconds_of_the_fastest():
    readings = iter([0.0, 9.0, 10.0, 12.0, 20.0, 21.0, 30.0, 34.0])
    peak = matrix_peak(torch.device("cpu"), torch.float32, lambda: next(readings))
    assert peak == 2 * 2048**3 / 1.0
