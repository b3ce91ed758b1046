"""Data: sources of rows and data sets, their schema and scaling, splits, and files that are written."""
