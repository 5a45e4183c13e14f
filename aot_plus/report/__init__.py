"""Builds the report page of one or more runs: reads their result folders, writes one HTML file."""
