"""Making the book: its editions, the pages that the library writes about itself, slides, and the checks of what was built."""
