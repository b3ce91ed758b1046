"""One class in one file for each format; `latentmap.data.sources` maps the ends of file names to them."""
