"""The questions of the book, one file per chapter: functions that return tidy tables."""

import os
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
