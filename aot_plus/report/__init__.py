"""The report page of one or several runs: gathers what result folders hold and writes one HTML file."""
