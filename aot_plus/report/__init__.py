"""Makes the report page of one or several runs: gathers what result folders hold, writes one HTML file."""
