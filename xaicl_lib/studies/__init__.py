"""The questions of the book, one file per chapter: functions that return tidy tables."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

RESULTS = Path("../results")  # as a notebook of a checkout sees it


def stored(name: str, *instead: "pd.DataFrame", folder: str | os.PathLike[str] = RESULTS) -> "pd.DataFrame | None":
    """The larger run of that name, made once and kept with the project; its names are texts.

    Where a notebook stands without its checkout, the rows of the tables given instead, or None.
    """
    path = Path(folder) / f"{name}.parquet"
    if not path.is_file() and not instead:
        return None
    import pandas as pd

    table = pd.read_parquet(path) if path.is_file() else pd.concat(instead, ignore_index=True)
    return table.astype({column: str for column in table if isinstance(table[column].dtype, pd.CategoricalDtype)})


def side_by_side(tables: "Mapping[str, pd.DataFrame]", column: str) -> "pd.DataFrame":
    """The rows of several tables below each other, with a column that says which table each is from."""
    import pandas as pd

    return pd.concat([table.assign(**{column: name}) for name, table in tables.items()], ignore_index=True)


def parts_of(table: "pd.DataFrame | None") -> "dict[str, pd.DataFrame]":
    """The tables that a stored run holds, by their names, each without the columns that only others have; none of None."""
    groups = [] if table is None else table.groupby("part", sort=False, observed=True)
    return {str(name): part.dropna(axis=1, how="all").reset_index(drop=True) for name, part in groups}
