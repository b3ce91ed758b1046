"""The algebra: posterior x prior x likelihood, meeting in one record, the trace."""
