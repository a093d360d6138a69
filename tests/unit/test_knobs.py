"""Reading, setting and comparing constants through the syntax tree."""

import ast
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from swarm.errors import InputError
from swarm.research.knobs import derive_ranges, read_knobs, same_but_for_seed, set_knobs
from swarm.research.space import from_unit, in_range, to_unit
from trainer.contract import Range

SOURCE = '''\
"""A file. é"""
import math

LEARNING_RATE: float = 3e-3  # of AdamW, é
é = 1; BATCH_SIZE = 8
OFFSET = -1.5
TOKENS = 2**19
NAME = 'adamw'  # optimiser
TIED = True
SEED = 1337
DATA_PATH = "data.bin"
H100_PEAK_FLOPS = 989.5e12
WIDTH = (
    64  # features
)
TWICE = 1
TWICE = 2
COUNTED = 1
COUNTED += 1
DERIVED = WIDTH * 2
Mixed = 3


def train():
    """Say."""
    INSIDE = 5
    torch.manual_seed(1337)
    return INSIDE
'''


def test_only_literals_of_the_top_level_are_knobs() -> None:
    assert read_knobs(SOURCE) == {
        "LEARNING_RATE": 3e-3,
        "BATCH_SIZE": 8,
        "OFFSET": -1.5,
        "TOKENS": 2**19,
        "NAME": "adamw",
        "TIED": True,
        "WIDTH": 64,
    }


def test_setting_replaces_the_literal_and_nothing_else() -> None:
    changes = {"LEARNING_RATE": 0.01, "BATCH_SIZE": 4, "OFFSET": 2, "TOKENS": 1024, "NAME": "muon", "WIDTH": 96}
    changed = set_knobs(SOURCE, changes)
    expected = SOURCE
    for old, new in (
        ("3e-3", "0.01"),
        ("BATCH_SIZE = 8", "BATCH_SIZE = 4"),
        ("-1.5", "2.0"),
        ("2**19", "1024"),
        ("'adamw'", '"muon"'),
        ("64  #", "96  #"),
    ):
        expected = expected.replace(old, new)
    assert changed == expected


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"NOPE": 1}, "no constant of the file"),
        ({"INSIDE": 1}, "no constant of the file"),
        ({"NAME": 3}, "another kind"),
        ({"TIED": 1}, "another kind"),
        ({"OFFSET": float("nan")}, "finite"),
    ],
)
def test_what_cannot_be_set_is_refused(changes: dict[str, float], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        set_knobs(SOURCE, changes)


def test_a_file_that_does_not_parse_is_told() -> None:
    with pytest.raises(InputError, match="does not parse"):
        read_knobs("LR = (")


@pytest.mark.parametrize("hostile", ["X = 9 ** 9 ** 9 ** 9", "X = 1 / 0", "X = (-8) ** 0.5", "X = '9' * 10", "X = f()"])
def test_no_expression_is_evaluated_that_could_hurt(hostile: str) -> None:
    assert read_knobs(hostile) == {}


@given(
    lr=st.floats(min_value=-1e6, max_value=1e6),
    size=st.integers(-(10**9), 10**9),
    name=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    newline=st.sampled_from(["\n", "\r\n"]),
)
def test_what_was_set_is_read_back(lr: float, size: int, name: str, newline: str) -> None:
    source = newline.join(["LR = 1.0  # é", "SIZE = 2; NAME = 'é'", "# end"])
    changed = set_knobs(source, {"LR": lr, "SIZE": size, "NAME": name})
    assert read_knobs(changed) == {"LR": lr, "SIZE": size, "NAME": name}
    assert changed.endswith("# end")
    ast.parse(changed)


def test_named_ranges_win_and_the_others_are_derived() -> None:
    knobs = {"LR": 3e-3, "SIZE": 8, "BETA": 0.95, "DROPOUT": 0.0, "CLIP": 1.0, "TIED": True, "NAME": "a", "NEG": -1.0}
    named = {
        "SIZE": Range(low=4, high=16, integer=True),
        "NAME": Range(choices=("a", "b")),
        "GONE": Range(low=0, high=1),
    }
    assert derive_ranges(knobs, named) == {
        "LR": Range(low=3e-4, high=3e-2, log=True),
        "SIZE": named["SIZE"],
        "BETA": Range(low=0.5, high=0.995),
        "DROPOUT": Range(low=0.0, high=0.3),
        "CLIP": Range(low=0.1, high=10.0, log=True),
        "TIED": Range(choices=(False, True)),
        "NAME": named["NAME"],
    }


@given(value=st.one_of(st.integers(1, 10**6), st.floats(min_value=1e-6, max_value=1e3)), position=st.floats(0, 1))
@example(value=math.nextafter(1.0, 0.0), position=0.0)
@example(value=1 - 2e-9, position=0.0)
def test_a_derived_range_holds_its_value_and_all_it_gives(value: float, position: float) -> None:
    within = derive_ranges({"X": value}, {})["X"]
    assert in_range(value, within) or to_unit(value, within) == pytest.approx(0.5, abs=0.51)
    found = from_unit(position, within, value)
    assert in_range(found, within)
    assert isinstance(found, int) == isinstance(value, int)


def test_whole_numbers_move_in_the_steps_that_sizes_share() -> None:
    widths = {from_unit(i / 50, Range(low=32, high=128, log=True, integer=True), 64) for i in range(51)}
    assert widths == {32, 64, 96, 128}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SEED = 1337", "SEED = 7"),
        ("manual_seed(1337)", "manual_seed(99)"),
        ("# of AdamW, é", "# other words"),
        ('"""Say."""', '"""Something else."""'),
        ("3e-3", "0.003"),
        ("import math\n", "import math\n\n\n"),
    ],
)
def test_seeds_comments_and_layout_make_no_difference(old: str, new: str) -> None:
    assert old in SOURCE
    assert same_but_for_seed(SOURCE, SOURCE.replace(old, new))


@pytest.mark.parametrize(("old", "new"), [("3e-3", "4e-3"), ("INSIDE = 5", "INSIDE = 6"), ("'adamw'", "'muon'")])
def test_real_changes_make_a_difference(old: str, new: str) -> None:
    assert not same_but_for_seed(SOURCE, SOURCE.replace(old, new))
