"""What the reference is made from: every key and every column says what it means."""

import typing

import pytest
from pydantic import BaseModel

from harness.config import ExperimentSpec
from harness.publish.board import Board
from harness.publish.columns import columns_of


def blocks_of(annotation):
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inside in typing.get_args(annotation):
        yield from blocks_of(inside)


BLOCKS = {ExperimentSpec} | {
    block for field in ExperimentSpec.model_fields.values() for block in blocks_of(field.annotation)
}


def test_the_blocks_are_found():
    assert len(BLOCKS) == 13


@pytest.mark.parametrize("block", sorted(BLOCKS, key=lambda block: block.__name__))
def test_every_key_says_what_it_means(block):
    assert block.__doc__
    for name, field in block.model_fields.items():
        assert field.description, f"{block.__name__}.{name}"
        assert field.description.strip().endswith("."), f"{block.__name__}.{name}"


@pytest.mark.parametrize("unit", ["pixels", "clicks"])
def test_every_column_says_what_it_means(unit):
    board = Board("", [], [], None, [0.02, 0.1], 1.0, 1.0, unit, {}, [], [], [])
    columns = columns_of(board, None)
    assert len({column.key for column in columns}) == len(columns)
    for column in columns:
        assert column.says.endswith("."), column.key
