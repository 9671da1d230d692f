"""Write docs/kernels.md: ``python -m benchmarks.kernel_table``. It needs Triton and no GPU."""

from __future__ import annotations

from benchmarks.kernel_table.reports import shipped, start
from benchmarks.kernel_table.table import PAGE, page


def main() -> None:
    """Compile what has changed, and write the page."""
    pool, reports = start(shipped())
    with pool:
        PAGE.write_text(page({pair: future.result() for pair, future in reports.items()}))
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
