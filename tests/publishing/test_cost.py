"""The page of costs says what the stored tables say."""

import pandas as pd

from xaicl_lib.publishing.cost import cost_page


def test_the_page_has_a_row_a_way_and_a_column_a_task(tmp_path) -> None:
    fact = {
        "base": "b2a8562",
        "device": "a processor, avx512_bf16",
        "torch": "2.9",
        "date": "2026-11-29",
        "rounds": 3,
        "onnxruntime": "",
        "openvino": "2026.4",
    }
    ways = {"base": (8.0, 0.0, 1.0, 0.0), "openvino": (4.0, 3e-7, 1.0, 2e-7), "captum": (16.0, None, None, None)}
    made = [
        {"model": "simclr", "method": method, "way": way, "seconds": s, "ratio": 8 / s, "away": away, **rank}
        for method in ("conditional_occlusion", "areas")
        for way, (s, away, rank, extreme) in ways.items()
        for rank in [{"rank": rank, "extreme_away": extreme} if method != "areas" else {}]
        if (way, method) != ("captum", "areas")
    ]
    pd.DataFrame(made).assign(**fact).to_parquet(tmp_path / "cost_engines.parquet")
    old = {"model": "supcon", "base_seconds": 2.0, "seconds": 0.02, "ratio": 100.0, "away": 5e-7, "base": "b2a8562", "code": "cdbe0e5"}
    pd.DataFrame([old]).to_parquet(tmp_path / "cost_before.parquet")
    others = [("captum Saliency", "input_x_gradient", 1.13), ("grad_cam", None, None)]
    columns = [{"name": name, "asks_like": like, "times_ours": times, "model": "simclr", "torch": "2.9"} for name, like, times in others]
    pd.DataFrame(columns).to_parquet(tmp_path / "cost.parquet")
    page = cost_page(tmp_path)
    assert "|  | conditional occlusion, simclr | four areas, simclr |" in page
    assert "| build b2a8562 | 8.00 s | 8.00 s |" in page
    assert "| `openvino` | 4.00 s (2.00) | 4.00 s (2.00) |" in page
    assert "| captum | 16.00 s (0.50) |  |" in page
    assert "the least of 3 rounds" in page
    assert "Engines: openvino 2026.4." in page
    assert "| `conditional_occlusion`, `simclr` | `openvino` | 3e-07 | 1.0000 | 2e-07 |" in page
    assert "| four areas, `simclr` | `openvino` | 3e-07 |  |  |" in page
    assert page.split("## Other libraries")[0].count("captum") == 1  # which gives no maps to compare
    assert "| captum Saliency | `input_x_gradient` | 1.1 |" in page
    assert "| grad_cam |" not in page
    assert "| `supcon` | 2.00 s | 0.020 s | 100 | 5e-07 |" in page
