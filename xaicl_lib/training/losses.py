"""Losses of representation learning, each a function of embeddings, from their papers."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def nt_xent(za: Float[Tensor, "n d"], zb: Float[Tensor, "n d"], temperature: float = 0.2) -> Float[Tensor, ""]:
    """Normalised-temperature cross-entropy of two views, the loss of SimCLR.

    Implements Eq. 1 of :cite:t:`chen2020simple`: with z the 2n unit vectors and p(i) the other view of i,
    mean_i  -log( exp(z_i . z_p(i) / T) / sum_{k != i} exp(z_i . z_k / T) ).

    Returns:
        A scalar >= 0; log(2n - 1) for embeddings that are all alike, near it for random ones of many dimensions.
    """
    n = len(za)
    z = F.normalize(torch.cat([za, zb]).float())  # (2n, d)
    logits = (z @ z.T / temperature).fill_diagonal_(float("-inf"))
    partner = torch.arange(2 * n, device=z.device).roll(n)
    return F.cross_entropy(logits, partner)
