"""A frame in types whose values Great Expectations can name: texts as objects, times as naive UTC."""

from typing import Any

import pandas as pd

from ml.contract import schema


def plain_types(frame: pd.DataFrame) -> pd.DataFrame:
    """Return texts as objects and times as naive UTC.

    Times without a zone, and numbers with a fraction where the schema has integers, become objects: no rule takes
    their type then.
    """
    whole = {column.name for column in schema.columns() if column.integer}
    plain = frame.copy()
    for name, dtype in frame.dtypes.items():
        if isinstance(dtype, pd.StringDtype):
            plain[name] = frame[name].astype(object).where(frame[name].notna(), None)
        elif isinstance(dtype, pd.DatetimeTZDtype):
            plain[name] = frame[name].dt.tz_convert("UTC").dt.tz_localize(None)
        elif pd.api.types.is_datetime64_dtype(dtype) or (name in whole and _has_fractions(frame[name])):
            plain[name] = frame[name].astype(object)
    return plain


def _has_fractions(values: "pd.Series[Any]") -> bool:
    return pd.api.types.is_float_dtype(values.dtype) and bool((values.dropna() % 1 != 0).any())
