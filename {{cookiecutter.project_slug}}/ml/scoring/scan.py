"""Fast checks of every record that is scored, by what the schema says of its columns; whole columns at a time.

Great Expectations looks at a sample only. A run whose records break a rule ends here, and nothing is switched.
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from ml.contract import schema
from ml.contract.schema import Column
from ml.errors import ContractError

SAMPLES = 3  # values shown for each broken rule
MEND = "See the partition, or ml/problem/schema.py"


def refuse_other_types(url: str, columns: pa.Schema) -> None:
    """Raise ContractError where a file lacks a column of the schema, or has it in a type of another kind."""
    for column in schema.columns():
        if column.name not in columns.names:
            raise ContractError("data", f"{url} has no column {column.name}", MEND)
        if not _fits(column, kind := columns.field(column.name).type):
            raise ContractError("data", f"{column.name} of {url} is {kind}, and no {column.kind}", MEND)


def refuse_broken(part: str, records: pa.Table) -> None:
    """Raise ContractError with field, rule, number of records and three values where a rule breaks."""
    if broken := [said for column in schema.columns() for said in _broken(column, records.column(column.name))]:
        raise ContractError("data", f"{part}: {'; '.join(broken)}", MEND)


def refuse_repeated(part: str, names: list[bytes]) -> None:
    """Raise ContractError where two records have one name, the hash of their key."""
    if twice := len(names) - len(set(names)):
        raise ContractError("data", f"{part}: the key is that of an earlier record on {twice:,} rows", MEND)


def _fits(column: Column, kind: pa.DataType) -> bool:
    if column.kind == "time":
        return pa.types.is_timestamp(kind) and kind.tz is not None
    if column.kind == "number":
        return pa.types.is_integer(kind) or pa.types.is_floating(kind) or (column.optional and pa.types.is_null(kind))
    text = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(
        is_text(text) for is_text in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    ) or (column.optional and pa.types.is_null(kind))


def _broken(column: Column, values: pa.ChunkedArray) -> Iterator[str]:
    """Yield each rule that a column breaks, in words."""
    for rule, mask in _rules(column, values):
        if rows := pc.sum(mask).as_py():
            some = values.filter(mask).slice(0, SAMPLES).to_pylist()
            shown = [each.isoformat() if column.kind == "time" and each else repr(each) for each in some]
            yield f"{column.name} {rule} on {rows:,} rows" + (f", such as {', '.join(shown)}" if any(some) else "")


def _rules(column: Column, values: pa.ChunkedArray) -> Iterator[tuple[str, pa.ChunkedArray]]:
    """Yield the rules about a column, each with whether a record breaks it, [n] booleans."""
    if not column.optional:
        yield "is absent", pc.is_null(values, nan_is_null=True)
    if pa.types.is_null(values.type):
        return
    for rule, breaks, limit in (("lies below", pc.less, column.low), ("lies above", pc.greater, column.high)):
        if limit is not None:
            yield f"{rule} {limit}", breaks(values, pa.scalar(limit, values.type if column.kind == "time" else None))
    if column.integer and pa.types.is_floating(values.type):
        whole = pc.or_(pc.is_nan(values), pc.and_(pc.is_finite(values), pc.equal(pc.floor(values), values)))
        yield "is no whole number", pc.invert(whole)
    if column.pattern is not None:
        plain = values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values
        yield f"does not match {column.pattern}", pc.invert(pc.match_substring_regex(plain, column.pattern))
