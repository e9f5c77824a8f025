"""Executes one notebook by papermill and tells how far it is; called as a process of its own through `guard.py`.

    python -P guard.py worker.py PLAN.json MARK

The plan names `source`, `draft` (the executed copy, there only when all went well), `parameters` and `folder` (where the kernel works).
What it tells goes to standard output, a JSON text a line behind the mark: `{"cell": 3, "of": 20, "line": "x = 1"}` when a cell begins,
`{"error": ...}` or `{"processor": 12.3}`, seconds with the kernel's, at the end. Like the guard it does not load the library.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

# What the next imports would load beside what they need, a second and a third of one: a grammar of addresses, a reader of clusters' files.
if __name__ == "__main__":
    for _unused in ("rfc3987_syntax", "pyarrow"):
        sys.modules[_unused] = None  # type: ignore[assignment]

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError

NEVER = 10**6  # seconds; whoever started this process decides what takes too long


def _tell(**facts: Any) -> None:
    """One line for the process that started this one."""
    print(f"{sys.argv[2]}{json.dumps(facts)}", flush=True)


class _TellingEngine(NBClientEngine):
    """Papermill's own engine, which tells of each cell as it begins."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> None:
        begin, places = nb_man.cell_start, _numbered(nb_man.nb)

        def cell_start(cell: nbformat.NotebookNode, cell_index: int | None = None, **more: Any) -> None:
            if cell_index in places:
                _tell(cell=places[cell_index], of=len(places), line=_first_line(cell.source))
            begin(cell, cell_index, **more)

        nb_man.cell_start = cell_start
        super().execute_managed_notebook(nb_man, kernel_name, **options)


def _numbered(notebook: nbformat.NotebookNode) -> dict[int, int]:
    """Index to number, from 1, of the cells that the author wrote: papermill adds one with parameters."""
    added = {"papermill-error-cell-tag", "injected-parameters"}
    own = [index for index, cell in enumerate(notebook.cells) if not added & set(cell.metadata.get("tags", ()))]
    return {index: number for number, index in enumerate(own, start=1)}


def _first_line(source: str) -> str:
    """The first line of a cell that says something."""
    return next((line.strip() for line in source.splitlines() if line.strip()), "")


def _describe(error: Exception) -> str:
    """What went wrong, in one line."""
    if isinstance(error, PapermillExecutionError):
        return f"{error.ename}: {error.evalue}"
    if isinstance(error, _Ended):
        return str(error)
    if isinstance(error, DeadKernelError):
        return "the kernel died, as it does when memory runs out"
    if isinstance(error, OSError):
        return f"{error.strerror or error}"
    return f"{type(error).__name__}: {error}"


class _Ended(Exception):
    """A notebook that ended itself, as by `sys.exit(0)`, which papermill takes for its end."""


def _execute(plan: dict[str, Any]) -> None:
    """Execute the notebook of a plan; the draft is complete or not there."""
    done = papermill.execute_notebook(
        plan["source"], plan["draft"], plan["parameters"], engine_name="telling", kernel_name="python3", cwd=plan["folder"],
        progress_bar=False, request_save_on_cell_execute=False, start_timeout=NEVER, execution_timeout=NEVER, iopub_timeout=NEVER,
    )  # fmt: skip
    code = [cell for cell in done.cells if cell.cell_type == "code" and cell.source.strip()]
    if code and code[-1].execution_count is None:
        Path(plan["draft"]).unlink()
        raise _Ended("the notebook ended itself, and what comes after this cell did not run")


def _main() -> int:
    """Execute the plan that the command line names: 0, or 1 after telling what went wrong."""
    papermill_engines.register("telling", _TellingEngine)
    try:
        _execute(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    except Exception as error:  # of the notebook, the kernel, the disk or papermill: the line is told, the process ends
        _tell(error=" ".join(_describe(error).split()))
        return 1
    _tell(processor=sum(os.times()[:4]))
    return 0


if __name__ == "__main__":
    sys.exit(_main())
