"""The questions of the book, one file per chapter: functions that return tidy tables."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

RESULTS = Path("../results")  # as a notebook of a checkout sees it


def stored(name: str, folder: str | os.PathLike[str] = RESULTS) -> "pd.DataFrame | None":
    """The larger run of that name, made once and kept with the project; None where a notebook stands without its checkout."""
    path = Path(folder) / f"{name}.parquet"
    if not path.is_file():
        return None
    import pandas as pd

    return pd.read_parquet(path)


def side_by_side(tables: "Mapping[str, pd.DataFrame]", column: str) -> "pd.DataFrame":
    """The rows of several tables below each other, with a column that says which table each is from."""
    import pandas as pd

    return pd.concat([table.assign(**{column: name}) for name, table in tables.items()], ignore_index=True)
