"""Where rows come from: sources and data sets, what they hold, how they are scaled, split and written."""
