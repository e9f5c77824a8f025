"""The numbers of Tables I to VII of :cite:t:`sammani2023visualizing`, as printed there, to put beside ours."""

from pathlib import Path

import pandas as pd

from xaicl_lib.errors import require

SOURCE = Path(__file__).with_name("paper.csv")


def paper_tables(*tables: str) -> pd.DataFrame:
    """Rows of the paper's tables: table, model, method (labelled as ours), metric, value. All of "I" to "VII" if none is named.

    Table VII names the transformation behind the method, as in "averaged_transforms / blur"; Table VI is in seconds.

    Raises:
        InputError: no such table.
    """
    table = pd.read_csv(SOURCE)
    require("table of the paper", table["table"].unique(), *tables)
    return table[table["table"].isin(tables)].reset_index(drop=True) if tables else table
