"""Vision transformers of any library, opened where their last attention gathers what the patches give: one mechanism, a row per family.

The embedding of a vision transformer is read from a token or two (a class token, a distillation token, the latent of an attention
pool) or is the mean of the patch tokens. A mean is a map that is pooled. For a token that is read, the last attention is a sum over
all tokens, so the network is cut there: cell p of the map holds :math:`a_p v_p`, the weight of patch p and its value, head by head.
Everything behind works token by token, so the rest of the network can be run for the tokens that are read alone, with the sum in place
of the attention's answer. What no patch gives, the shares of class and register tokens and the token before that block, is packed
behind the map for the head alone: it does not scale with the map, and to methods that differentiate with respect to the map it is
constant (`patches_alone`), so that none credits a patch with it, and an explanation of the embedding from patches leaves it in its
residual. Gradients of the embedding with respect to the image go through it.

`layouts` reads from the network's own attributes what it calls its parts, `opening` opens it, `cutting` cuts any module, `attention` sees
weights while they are computed. Every network that is opened is run once both ways: one whose embedding is not reproduced is refused.
"""

from xaicl_lib.tokens.attention import attention_seen
from xaicl_lib.tokens.cutting import open_at
from xaicl_lib.tokens.opening import grid_of, open_tokens, patches_alone

__all__ = ["attention_seen", "grid_of", "open_at", "open_tokens", "patches_alone"]
