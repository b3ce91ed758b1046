"""Speed and quality compared with the peers: pairs in one run, medians of several runs, raw results as JSON."""
