"""A book as an ePub 3: one XHTML file a page, its contents, its pictures."""

def write_epub(*a): pass
