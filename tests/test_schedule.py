"""Who moves when."""

import pytest

from ganlab.errors import GanlabError
from ganlab.schedule import SCHEDULES, Schedule, Threshold, parse

PLAYERS = ["discriminator", "generator"]
D, G, BOTH = ("discriminator",), ("generator",), ("discriminator", "generator")


def movers(text: str, steps: int, per_epoch: int = 10) -> list[tuple[str, ...]]:
    schedule = parse(text)
    return [tuple(schedule.movers(step, step // per_epoch, PLAYERS)) for step in range(steps)]


def test_alternate():
    assert movers("alternate", 3) == [BOTH] * 3


def test_discriminator_steps():
    assert movers("discriminator_steps(3)", 6) == [D, D, BOTH] * 2
    assert movers("discriminator_steps(1)", 2) == [BOTH] * 2


def test_epochs():
    assert movers("epochs(1, 2)", 12, per_epoch=2) == [D, D, G, G, G, G] * 2


def test_warm_up():
    assert movers("warm_up(2)", 4) == [G, G, BOTH, BOTH]
    assert movers("warm_up(1, discriminator_steps(2))", 4) == [G, BOTH, D, BOTH]


def test_threshold_hands_over_below_the_loss_or_when_patience_ends():
    schedule = parse("threshold(0.5, 1.0, patience=3)")
    seen = []
    for losses in (0.9, 0.4, 2.0, 0.9, 0.6, 0.6, 0.6, 0.2):
        turn = schedule.movers(0, 0, PLAYERS)[0]
        seen.append(turn[0])
        schedule.after({turn: losses})
    # d d(below) g g(below) d d d(patience) g
    assert "".join(seen) == "ddggdddg"


@pytest.mark.parametrize("text", ["threshold('a', 1)", "threshold(0.1, None)", "threshold(1e999)", "threshold(0.1, 1j)",
                                  "warm_up(5, threshold(discriminator=(0.5,)))"])
def test_a_threshold_that_is_no_finite_number_is_refused_when_it_is_made(text):
    with pytest.raises(GanlabError, match=r"threshold: (discriminator|generator) must be a finite number, not"):
        parse(text)


def test_a_threshold_may_be_negative_and_is_never_nan():
    assert Threshold(-2, 0).generator == 0
    with pytest.raises(GanlabError, match="threshold: generator must be a finite number, not nan"):
        Threshold(0.5, float("nan"))


def test_threshold_goes_on_from_its_state():
    a, b = parse("threshold(0.5, 1.0)"), parse("threshold(0.5, 1.0)")
    a.after({"discriminator": 0.1})
    b.restore(a.state())
    assert b.movers(0, 0, PLAYERS) == G and b.state() == {"turn": "generator", "moved": 0}


def test_every_schedule_reads_back_what_it_prints():
    for cls in SCHEDULES.values():
        assert str(parse(str(cls()))) == str(cls())
    assert str(parse("warm_up(5, threshold(0.1, 2, patience=7))")) == "warm_up(5, threshold(0.1, 2, 7))"
    schedule = parse("epochs(3, 4)")
    assert isinstance(schedule, Schedule) and parse(schedule) == schedule and parse(schedule) is not schedule


@pytest.mark.parametrize("text", [
    "alternating", "discriminator_steps(0)", "epochs(1.5)", "warm_up(-1)", "epochs(1, 2, 3)",
    "__import__('os').getcwd()", "alternate(", "5", "'alternate'", "discriminator_steps(k=True)"])
def test_anything_else_is_a_clear_error(text):
    with pytest.raises(GanlabError, match=r"cannot read the schedule|must be a whole number"):
        parse(text)
