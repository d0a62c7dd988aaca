"""What lets tables be spread over servers by tenant: each key says whose row it is, no server hands out numbers."""

import pytest
from sqlalchemy import Table, UniqueConstraint

from joulegate_api.store.schema import metadata

TABLES = [pytest.param(table, id=table.name) for table in metadata.sorted_tables]


@pytest.mark.parametrize("table", TABLES)
def test_every_key_and_index_begins_with_the_tenant(table: Table) -> None:
    uniques = [constraint for constraint in table.constraints if isinstance(constraint, UniqueConstraint)]
    keys = [list(table.primary_key), *(list(unique.columns) for unique in uniques)]
    keys += [list(index.columns) for index in table.indexes]
    assert {key[0].name for key in keys} == {"tenant"}


@pytest.mark.parametrize("table", TABLES)
def test_no_row_needs_another_server(table: Table) -> None:
    assert not table.foreign_keys
    assert [column.name for column in table.columns if column.identity or column.server_default is not None] == []


def test_there_are_tables() -> None:
    assert len(TABLES) > 20
