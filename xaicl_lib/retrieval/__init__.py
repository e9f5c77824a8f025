"""Search by a contrastive model, explained: what comes back for a picture or for words, by which regions, and why not the next one.

`gallery` keeps the embeddings of many images in a file, `search` asks them, `explaining` says why the answers came back.
"""

from xaicl_lib.retrieval.explaining import Contrast, Why, explain_results
from xaicl_lib.retrieval.gallery import Gallery, embed_gallery
from xaicl_lib.retrieval.search import Results, retrieve

__all__ = ["Contrast", "Gallery", "Results", "Why", "embed_gallery", "explain_results", "retrieve"]
