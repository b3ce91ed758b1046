"""Tables as files, written and opened."""

from latentmap.data.sources import open_source


def read(path, content, **settings):
    """Write a file, and open it as a source."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return open_source(path, **settings)
