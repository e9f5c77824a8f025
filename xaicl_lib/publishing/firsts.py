"""What costs most notebooks time when they do it first, done once: a fork server imports this, and its kernels need not do it again.

Nothing here may draw random numbers that matter, start a thread, touch a GPU or change what is seen: only what is loaded and cached.
"""

import plotly.graph_objects as go
import pyarrow.dataset
import pyarrow.parquet  # noqa: F401
import scipy.stats  # noqa: F401
import torchvision.models  # noqa: F401
from PIL import Image

go.Figure([go.Scatter(y=[1], line={"width": 1}), go.Heatmap(z=[[1]]), go.Bar(y=[1])], {"title": {"text": ""}}).to_json()
Image.init()
